from importlib.metadata import EntryPoint

import pytest
from tests.support.steps import a_setup

from leat_engine.plan import PURE_KINDS
from leat_engine.spec.kinds import load_models
from leat_runner import kinds
from leat_runner.kinds import KindSettings, KindUnusable, load_kinds


def install(monkeypatch, *values):
    entries = [EntryPoint(name, value, kinds.GROUP) for name, value in values]
    monkeypatch.setattr(kinds, "entry_points", lambda group: entries if group == kinds.GROUP else [])


def test_every_kind_that_can_be_written_can_be_executed_or_is_decided_by_the_engine():
    assert set(load_kinds(a_setup())) | PURE_KINDS == set(load_models())


def test_a_kind_brought_by_two_packages_is_refused(monkeypatch):
    install(monkeypatch, ("wait", "leat_runner.kinds.wait:WaitKind"), ("wait", "elsewhere:WaitKind"))
    with pytest.raises(KindUnusable, match=r"'wait' is brought by .* and by elsewhere:WaitKind"):
        load_kinds(a_setup())


def test_a_kind_that_cannot_be_imported_is_named(monkeypatch):
    install(monkeypatch, ("mail", "no_such_module:MailKind"))
    with pytest.raises(KindUnusable, match="kind 'mail' of no_such_module:MailKind cannot be loaded") as caught:
        load_kinds(a_setup())
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("LEAT_FUNCTIONS", "orders.steps, more.py,")
    monkeypatch.setenv("LEAT_HTTP_PRIVATE_NETWORKS", "false")
    settings = KindSettings()
    assert settings.functions == ("orders.steps", "more.py")
    assert not settings.http_private_networks
