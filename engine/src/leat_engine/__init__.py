"""The truth about a run.

The pure half (``spec``, ``expression``, ``plan``, ``job``, ``result``, ``retry``, ``view``, ``decide``, ``status``,
``errors``) decides and returns data: no clock, no randomness, no ids, no I/O of its own; all of these are arguments.
The crossings (``store``, ``queue``, ``commit``, ``caretakers``) do what was decided. Nothing here knows Kubernetes.
"""
