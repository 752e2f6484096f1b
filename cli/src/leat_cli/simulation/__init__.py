"""What a workflow will take, found by letting it run in a time of its own: nothing is executed, and nobody is asked.

`given` reads durations that somebody wrote down, `world` lets runs go by in simulated time (simpy, nowhere else),
`outcome` makes figures of what went by.
"""
