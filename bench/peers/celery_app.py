"""The Celery application: a chain's steps, and the last one, which says when it is done.

Settings come from the environment: ``BENCH_BROKER`` (AMQP URL), ``BENCH_RESULTS`` (Redis URL, empty for no results),
``BENCH_STEP_RESULTS`` (1: of every step, 0: of the last one), ``BENCH_QUEUE``, ``BENCH_PREFETCH`` and ``BENCH_DONE``
(a file that gets one line per run: measuring costs no message).
"""

# Celery lives in an environment of its own, and ships no types.
# mypy: disable-error-code="import-not-found, untyped-decorator"

import os
import time
from pathlib import Path

from celery import Celery

DONE = Path(os.environ["BENCH_DONE"])

app = Celery("bench", broker=os.environ["BENCH_BROKER"], backend=os.environ["BENCH_RESULTS"] or None)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=not os.environ["BENCH_RESULTS"],
    task_default_queue=os.environ["BENCH_QUEUE"],
    worker_prefetch_multiplier=int(os.environ["BENCH_PREFETCH"]),
    worker_disable_rate_limits=True,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)


@app.task(ignore_result=os.environ["BENCH_STEP_RESULTS"] == "0")
def step() -> None:
    """Nothing."""


@app.task
def last(started: float) -> None:
    """Nothing, and notes when the run was asked for and when it was done (a short append is atomic)."""
    with DONE.open("a") as done:
        done.write(f"{started} {time.time()}\n")
