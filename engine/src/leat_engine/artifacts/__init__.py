"""What is too large for the store of runs: files and outputs, in an object store.

The law of this room: an object is written once, under a key that says whose it is: namespace, run, scope, step,
attempt, name. So two attempts never meet in one, and the commit of a step decides which of them counts. The store of
runs only has references; whoever follows one checks first that it is of the run's own namespace. Bytes go through in
pieces, never whole. Only `objects` imports the client.
"""

from leat_engine.artifacts.objects import ArtifactGone, ArtifactsRefused, ArtifactsUnavailable, Objects, Put

__all__ = ["ArtifactGone", "ArtifactsRefused", "ArtifactsUnavailable", "Objects", "Put"]
