"""`leat signal`, `approve` and `reject` on the database of runs that wait."""

import json
import os
import shlex
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.cli import LEAT, leat
from tests.support.samples import FOLDER


@dataclass
class Run:
    """A `leat run` under way. ``answer`` is the command that it prints for whoever can answer."""

    process: "subprocess.Popen[str]"
    answer: list[str]

    def tell(self, *arguments):
        return leat(*arguments, *self.answer[-2:])

    def end(self) -> Any:
        """What the run became."""
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, err
        return json.loads(out)


@contextmanager
def running(name):
    """The sample's run, with people who are patient, as soon as it waits."""
    command = [*LEAT, "run", str(FOLDER / f"{name}.yaml"), "-i", "patience=1h", "-o", "json"]
    pipes = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "env": {**os.environ, "COLUMNS": "500"},
    }
    with subprocess.Popen(command, **pipes) as process:
        try:
            told = next(line for line in process.stderr if line.startswith("to answer: "))
            yield Run(process, shlex.split(told)[3:])
        finally:
            process.kill()


def test_a_signal_that_is_not_as_the_schema_says_is_refused_and_one_that_is_goes_to_the_step():
    with running("signal") as run:
        wrong = run.tell("signal", "signal", "paid", "--payload", '{"amount": -1}')
        assert (wrong.code, "payload.amount: -1 is less than or equal to the minimum of 0" in wrong.err) == (1, True)
        right = run.tell("signal", "signal", "paid", "--payload", '{"amount": 250}', "--as", "ann")
        assert (right.code, right.out) == (0, "delivered: signal 'paid' was taken\n")
        assert run.end()["output"] == "thank you for 250"


def test_only_a_member_of_the_group_approves():
    with running("approval") as run:
        other = run.tell("approve", "approval", "--as", "bob")
        assert (other.code, other.err) == (1, "bob may not decide about 'release': members of releasers may\n")
        done = run.tell("approve", "approval", "release", "--as", "ann", "--group", "releasers", "-m", "fine")
        assert (done.code, done.out) == (0, "delivered: 'release' was approved by ann\n")
        assert run.end()["output"] == {"shipped": "1.4", "by": ["ann"]}


def test_one_who_rejects_ends_the_wait():
    with running("approval") as run:
        done = run.tell("reject", "approval", "--as", "ann", "--group", "releasers", "-m", "not on a Friday")
        assert (done.code, done.out) == (0, "delivered: 'release' was rejected by ann\n")
        end = run.end()
        assert end["output"] == {"kept": "Rejected"}
        assert end["steps"]["release"]["error"]["message"] == "ann rejected 'release': not on a Friday"


def test_mistakes_are_answered_with_what_is_expected(database):
    assert leat("signal", "nobody", "paid", "--database", database).code == 2
    assert "expected JSON" in leat("signal", "signal", "paid", "--payload", "{amount: 1}").err
    assert "--as and --group go with --database" in leat("approve", "a", "--as", "ann").err
