"""`leat db`, `get`, `describe` and `watch` on a database."""

import pytest
import yaml
from tests.support.cli import leat
from tests.support.samples import FOLDER
from tests.support.stack import fresh_database

from leat_cli.local import Means, run_here
from leat_cli.order import order_of
from leat_cli.progress import Lines
from leat_cli.secrets import secrets_of
from leat_cli.terminal import err


@pytest.fixture(scope="module")
def database(postgres_dsn):
    """A database that remembers a run that succeeded and one that was cancelled."""
    assert leat("db", "migrate", "--database", postgres_dsn).code == 0
    for name in ("conditions", "cancel"):
        order = order_of(str(FOLDER / f"{name}.yaml"), (), None)
        run_here(order, Means((), secrets_of(None)), postgres_dsn, Lines(err()))
    return postgres_dsn


def test_an_empty_database_is_refused_with_the_command_that_helps(postgres):
    with fresh_database(postgres) as url:
        for command in (["db", "status"], ["get"]):
            done = leat(*command, "--database", url)
            assert (done.code, "run `leat db migrate`" in done.err) == (3, True)


def test_migrating_again_applies_nothing(database):
    done = leat("db", "migrate", env={"LEAT_DATABASE_URL": database})
    assert (done.code, done.out, done.err) == (0, "", "the database is up to date\n")
    assert leat("db", "status", "--database", database).out == "the database is up to date\n"


def test_runs_are_listed_with_the_newest_first(database):
    done = leat("get", "--database", database)
    assert done.code == 0
    rows = [line.split() for line in done.out.splitlines()]
    assert rows[0][:4] == ["NAME", "WORKFLOW", "PHASE", "PROGRESS"]
    assert [(row[0], row[3]) for row in rows[1:]] == [("cancel", "Cancelled"), ("conditions", "Succeeded")]


def test_a_list_for_programs_is_a_list(database):
    runs = leat("get", "runs", "-A", "-o", "json", "--database", database).json
    assert [run["name"] for run in runs] == ["cancel", "conditions"]
    assert runs[1]["progress"] == "5/5"


def test_one_run_comes_with_its_values(database):
    run = yaml.safe_load(leat("get", "conditions", "-o", "yaml", "--database", database).out)
    assert run["inputs"] == {"amount": 250, "card": "expired"}
    assert run["steps"]["check"]["error"]["message"] == "the card has expired"
    assert run["output"]["reviewed"] is False


def test_describe_shows_every_step_and_its_error(database):
    done = leat("describe", "conditions", "--database", database)
    assert done.code == 0
    assert "Fail: the card has expired" in done.out
    assert '"amount": 250' in done.out
    assert leat("describe", "conditions", "-o", "json", "--database", database).json["phase"] == "Succeeded"


@pytest.mark.parametrize(("name", "code"), [("conditions", 0), ("cancel", 1)])
def test_watching_a_run_that_has_ended_tells_its_end(database, name, code):
    done = leat("watch", name, "--database", database)
    assert done.code == code
    assert f"{name}: " in done.err.splitlines()[-1]


def test_a_run_that_is_not_there_is_answered_with_where_to_look(database):
    for command in ("describe", "watch", "get"):
        done = leat(command, "nobody", "--database", database)
        assert done.code == 2
        assert done.err == (
            "found no run 'nobody' in namespace 'default' of the database: `leat runs -A` lists what is there\n"
        )


def test_workflows_are_not_in_a_database(database):
    done = leat("get", "workflows", "--database", database)
    assert (done.code, "workflows live in a cluster" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://leat:secret@127.0.0.1:1/leat", "does not answer"),
        ("mysql://leat:secret@127.0.0.1/leat", "not a database URL"),
        ("postgresql://leat:secret@127.0.0.1:port/leat", "not a database URL"),
    ],
)
@pytest.mark.parametrize("command", ["db migrate", "db status", "get"])
def test_a_database_that_cannot_be_opened_is_named_without_its_password(command, url, reason):
    done = leat(*command.split(), "--database", url)
    assert (done.code, done.out) == (3, "")
    assert reason in done.err
    assert "Traceback" not in done.err
    assert "secret" not in done.err
