"""What the operator answers: the API server's questions at admission, and people's by the read API.

The law of this room:

- It is optional. Nothing waits for it, and nothing here changes what becomes of a run: accept stays the truth.
- Every replica serves, active or not. What is asked is answered from the cluster and the store, never from what only
  the active replica knows.
- Nobody is believed. The API server names the caller, and proves by its certificate that it is the API server; the
  caller's rights are asked for anew; whatever arrives has a bound on its size, its time and its number.
- The values of sensitive inputs are never shown, wherever a step has copied them to.
"""
