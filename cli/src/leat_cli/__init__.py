"""HANDS FACING THE PERSON: the command `leat`, which is the kubectl plugin `kubectl-leat` too. One file per command.

The law of the room:

- stdout holds the result and nothing else; progress, notes and errors go to stderr. What a program reads (`-o json`) is
  pure JSON, what a person reads says at its end what to do next.
- Exit codes are `problems.Exit`: 0 done, 1 the run did not succeed, 2 what the user wrote is wrong, 3 a database or a
  cluster does not answer; 128 plus its number after a signal.
- A user's mistake never shows a traceback: it is a `problems.CommandError`, and says what was found, what is expected
  and what to do.
- A command's file imports at its top only what `--help` needs; engine, runner, rich and clients are imported when the
  command runs. `kubernetes` is imported in `cluster` alone, textual in `dashboard` and `screens`, rich in these and in
  `terminal`, `branches` and `progress`.
- `snapshot` says what is shown of a run, wherever it was read: the store (`database`, `recorded`), or a cluster
  (`remote`): its resources (`resources`), and the read API that the operator serves (`readapi`). Where that is not to
  be had, the resource's status is shown, and what is missing is said with what to do about it.
- A completion answers within a second or is silent; it asks by kubectl (`complete`).
"""
