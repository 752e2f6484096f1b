"""`leat signal`, `approve` and `reject` on the database of runs that wait."""

import threading
from contextlib import contextmanager

import pytest
import yaml
from tests.support.cli import leat
from tests.support.samples import FOLDER

from leat_cli.local import Means, run_here
from leat_cli.order import order_of
from leat_cli.progress import Lines
from leat_cli.secrets import secrets_of
from leat_cli.terminal import err


@contextmanager
def running(name, url):
    """The sample's run, with people who are patient, until it has ended; what it became is appended to the list."""
    ends = []
    order = order_of(str(FOLDER / f"{name}.yaml"), ("patience=1h",), None)

    def work():
        ends.append(run_here(order, Means((), secrets_of(None)), url, Lines(err())))

    thread = threading.Thread(target=work, daemon=True)  # a test that fails leaves it to the end of the process
    thread.start()
    yield ends
    thread.join(60)
    assert not thread.is_alive(), "the run did not end"


def waits(name, url):
    """Return when the run waits."""
    for _ in range(600):
        done = leat("get", name, "-o", "yaml", "--database", url)
        if done.code == 0 and "Delayed" in done.out:
            return yaml.safe_load(done.out)
    raise AssertionError("it does not wait")


@pytest.fixture
def told(postgres_dsn):
    def call(*arguments):
        return leat(*arguments, "--database", postgres_dsn)

    return call


def test_a_signal_that_is_not_as_the_schema_says_is_refused_and_one_that_is_goes_to_the_step(told, postgres_dsn):
    with running("signal", postgres_dsn) as ends:
        waits("signal", postgres_dsn)
        wrong = told("signal", "signal", "paid", "--payload", '{"amount": -1}')
        assert (wrong.code, "payload.amount: -1 is less than or equal to the minimum of 0" in wrong.err) == (1, True)
        right = told("signal", "signal", "paid", "--payload", '{"amount": 250}', "--as", "ann")
        assert (right.code, right.out) == (0, "delivered: signal 'paid' was taken\n")
    assert ends[0].run.output == "thank you for 250"
    late = told("signal", "signal", "paid")
    assert (late.code, late.err) == (1, "the run has ended: Succeeded\n")


def test_only_a_member_of_the_group_approves(told, postgres_dsn):
    with running("approval", postgres_dsn) as ends:
        waits("approval", postgres_dsn)
        other = told("approve", "approval", "--as", "bob")
        assert (other.code, other.err) == (1, "bob may not decide about 'release': members of releasers may\n")
        done = told("approve", "approval", "release", "--as", "ann", "--group", "releasers", "-m", "fine")
        assert (done.code, done.out) == (0, "delivered: 'release' was approved by ann\n")
    assert ends[0].run.output == {"shipped": "1.4", "by": ["ann"]}


def test_one_who_rejects_ends_the_wait(told, postgres_dsn):
    with running("approval", postgres_dsn) as ends:
        waits("approval", postgres_dsn)
        done = told("reject", "approval", "--as", "ann", "--group", "releasers", "-m", "not on a Friday")
        assert (done.code, done.out) == (0, "delivered: 'release' was rejected by ann\n")
    assert ends[0].run.output == {"kept": "Rejected"}
    assert ends[0].run.steps[0].error["message"] == "ann rejected 'release': not on a Friday"


def test_mistakes_are_answered_with_what_is_expected(told):
    assert told("signal", "nobody", "paid").code == 2
    assert "expected JSON" in told("signal", "signal", "paid", "--payload", "{amount: 1}").err
    assert "--as and --group go with --database" in leat("approve", "a", "--as", "ann").err
