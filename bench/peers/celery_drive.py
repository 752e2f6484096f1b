"""Publishes chains to the Celery workers under a load and prints the samples of both phases as JSON.

A process of its own in Celery's environment: ``python -m bench.peers.celery_drive IN_FLIGHT LOAD_AS_JSON``.
"""

# Celery lives in an environment of its own, and ships no types.
# mypy: disable-error-code="import-not-found"

import json
import sys
import time
from dataclasses import asdict

from celery import chain

from bench.load import STEPS, Load, Sample, schedule
from bench.peers.celery_app import DONE, app, last, step

DRAIN_DEADLINE = 60.0
LOOK_EVERY = 16  # publishes; a look costs about as much as a publish


class Driver:
    """Publishes chains over one connection and reads what is done from the file."""

    def __init__(self) -> None:
        self._producer = app.connection_for_write().Producer()
        self._lines = DONE.open()
        self._part = ""
        self.published = 0
        self.done: list[Sample] = []

    def start(self) -> None:
        """Publish one run: four steps and the last, which carries the moment."""
        links = [step.si() for _ in range(STEPS - 1)]
        chain(*links, last.si(time.time())).apply_async(producer=self._producer)
        self.published += 1

    def look(self) -> None:
        """Take up the lines written since the last look."""
        *whole, self._part = (self._part + self._lines.read()).split("\n")
        self.done += [Sample(*map(float, line.split())) for line in whole]

    def saturate(self, in_flight: int, load: Load) -> list[Sample]:
        """Keep ``in_flight`` runs outstanding."""
        begins = time.time() + load.warm_up
        ends = begins + load.observed
        while time.time() < ends:
            for _ in range(in_flight - (self.published - len(self.done))):
                self.start()
                if self.published % LOOK_EVERY == 0:
                    self.look()
            time.sleep(0.002)
            self.look()
        return [sample for sample in self.done if begins <= sample.finished <= ends]

    def pace(self, load: Load) -> list[Sample]:
        """Start runs at an even pace, each at its moment."""
        begins = time.time()
        for offset in schedule(load.rate, load.paced):
            time.sleep(max(begins + offset - time.time(), 0.0))
            self.start()
        self.drain()
        return [sample for sample in self.done if sample.started >= begins + load.warm_up]

    def drain(self) -> None:
        """Wait until nothing is outstanding."""
        deadline = time.time() + DRAIN_DEADLINE
        while len(self.done) < self.published:
            if time.time() > deadline:
                raise RuntimeError(f"{self.published - len(self.done)} runs never finished")
            time.sleep(0.01)
            self.look()


def main() -> None:
    """Read the load from the arguments, print the samples of both phases as JSON."""
    in_flight, load = int(sys.argv[1]), Load(**json.loads(sys.argv[2]))
    driver = Driver()
    driver.start()
    driver.drain()  # the workers are there
    saturated = driver.saturate(in_flight, load)
    driver.drain()
    paced = driver.pace(load)
    print(json.dumps({"saturated": [asdict(one) for one in saturated], "paced": [asdict(one) for one in paced]}))


if __name__ == "__main__":
    main()
