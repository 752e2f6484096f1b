"""The hands that face the cluster: resources become runs, and what the store knows about runs becomes `.status`.

The law of this room:

- A handler hands over and returns. Deciding is pure, talking to the API server is `cluster` (and kopf's watches).
- No step ever waits for the operator. It may die at any time: whatever it had not finished, the next one finds in the
  cluster and in the store.
- Everything in `.status` is a projection of the store. A run costs at most two writes here, one more while it is long.
- What is over is not watched. A resource whose ttl or limit of history is reached is deleted: one write, and no run
  hears of it.
- kopf lives in a thread and a loop of its own, since it cancels every task of its loop on exit and spends a third of a
  millisecond on each event.
"""
