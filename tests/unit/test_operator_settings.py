"""The operator's settings come from the environment, and a wrong one is named without its value."""

import pytest

from leat_engine.errors import Rejected
from leat_operator.settings import load


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("LEAT_DATABASE_URL", "postgresql://leat:hidden@db/leat")
    monkeypatch.setenv("LEAT_AMQP_URL", "amqp://leat:hidden@rabbit/")


def test_two_urls_are_enough():
    settings = load()
    assert settings.namespace == "leat-system"
    assert settings.watch_namespaces == ()
    assert "hidden" not in repr(settings)


def test_namespaces_are_separated_by_commas(monkeypatch):
    monkeypatch.setenv("LEAT_WATCH_NAMESPACES", "shop, bank,")
    assert load().watch_namespaces == ("shop", "bank")


def test_every_wrong_variable_is_named_with_what_it_takes(monkeypatch):
    monkeypatch.delenv("LEAT_AMQP_URL")
    monkeypatch.setenv("LEAT_STATUS_WRITES_PER_SECOND", "many")
    with pytest.raises(Rejected) as rejected:
        load()
    paths = [reason.path for reason in rejected.value.reasons]
    assert paths == ["LEAT_AMQP_URL", "LEAT_STATUS_WRITES_PER_SECOND"]
    assert "RabbitMQ" in str(rejected.value)
    assert "hidden" not in str(rejected.value)
