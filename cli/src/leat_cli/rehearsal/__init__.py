"""A run played in memory, with time skipped: behind `leat test`, `leat debug` and `leat_cli.testing`.

The law of this room: nothing is decided here. What follows from an end says `decide`, what a body does next `advance`,
what becomes of an attempt `carry_out`, as in a runner. Here is only what the store does for them: it remembers, counts
what is under way, and wakes what waits. Whoever plays a run gives the `Cast`, which answers for the steps.
"""
