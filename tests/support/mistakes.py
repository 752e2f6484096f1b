"""The page of mistakes: its fragments, and what Leat says of each."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from textwrap import indent
from typing import Any
from uuid import UUID

import yaml
from tests.support.cli import invoked

from leat_cli.order import draft_of, plan_of
from leat_cli.testing import error, output, run
from leat_engine.compare import Progress, Span, compare
from leat_engine.errors import Rejected
from leat_engine.plan import Plan
from leat_engine.records import RunRecord
from leat_engine.rerun import begin_again, clean_again
from leat_engine.result import Phase, State
from leat_engine.spec import parse_run, parse_spec

ENTRY = re.compile(
    r"<!-- (?P<place>[a-z]+:?)(?: (?P<more>[^\n]*?))? -->\n```yaml\n(?P<written>.*?)^```\n"
    r"(?:```text\n(?P<told>.*?)^```)?"
    r"|```console\n\$ (?P<command>.*?)\n(?P<shown>.*?)^```",
    re.DOTALL | re.MULTILINE,
)
HEAD = "apiVersion: leat.dev/v1alpha1\nkind: {}\nmetadata: {{name: mistake}}\nspec:\n"
RUN = UUID(int=1)
AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Entry:
    """A mistake of the page. ``place``: what the fragment belongs to, ``more`` what else is so."""

    line: int
    place: str
    more: str
    written: str
    told: str


def entries(page: str) -> Iterator[Entry]:
    """Yield what the page tells, in its order; files that it needs have the place ``file:``."""
    for found in ENTRY.finditer(page):
        line = page.count("\n", 0, found.start()) + 1
        if found["command"]:
            yield Entry(line, "command", "", found["command"], found["shown"])
        else:
            yield Entry(line, found["place"], found["more"] or "", found["written"], found["told"] or "")


def said(entry: Entry, folder: Path) -> str:
    """What Leat says of it, with nothing around. ``folder`` has the files of the page, and is the current one."""
    lines = _SAYING[entry.place](entry, folder)
    return "".join(f"{line}\n" for line in lines)


def _linted(text: str, folder: Path) -> list[str]:
    file = folder / "mistake.yaml"
    file.write_text(text)
    return [
        ": ".join(part for part in (each["path"], each["message"]) if part)
        for each in invoked("lint", str(file), "-o", "json").json
        if each["rule"] is None
    ]


def _file(entry: Entry, folder: Path) -> list[str]:
    return _linted(entry.written, folder)


def _spec_of(entry: Entry) -> str:
    if entry.place == "steps" or entry.written.startswith("- "):
        return f"steps:\n{indent(entry.written, '  ')}"
    return entry.written if re.search("^steps:", entry.written, re.MULTILINE) else entry.written + _NO_MATTER


_NO_MATTER = "steps: [{name: any, transform: 1}]\n"


def _workflow(entry: Entry, folder: Path) -> list[str]:
    return _linted(HEAD.format("Workflow") + indent(_spec_of(entry), "  "), folder)


def _run(entry: Entry, folder: Path) -> list[str]:
    text = HEAD.format("WorkflowRun") + indent(entry.written, "  ")
    return _linted((folder / "order.yaml").read_text() + "---\n" + text, folder)


def _played(entry: Entry, _folder: Path) -> list[str]:
    fakes = {
        name: output(given["output"]) if "output" in given else error(given.pop("type"), **given)
        for name, given in json.loads(entry.more or "{}").items()
    }
    result = run(yaml.safe_load(_spec_of(entry)), fakes=fakes)
    assert result.phase == "Failed", result
    return [f"{result.error['type']}: {result.error['message']}"]


def _tested(entry: Entry, folder: Path) -> list[str]:
    (folder / "order.test.yaml").write_text("workflow: order.yaml\n" + entry.written)
    return _shown("test order.test.yaml", lambda line: re.match(r"order.test.yaml:\d| {8}", line) is not None)


def _simulated(entry: Entry, folder: Path) -> list[str]:
    (folder / "durations.yaml").write_text(entry.written)
    return _shown("simulate order.yaml -i amount=5 --durations durations.yaml", lambda _: True)


def _commanded(entry: Entry, _folder: Path) -> list[str]:
    return _shown(entry.written.removeprefix("leat "), lambda _: True)


def _shown(command: str, wanted: Any) -> list[str]:
    done = invoked(*shlex.split(command))
    assert done.code in {1, 2}, done
    said = (done.out + done.err).replace(str(Path.cwd()), "/home/ann")
    return [line.removeprefix("        ") for line in said.splitlines() if wanted(line)]


def _again(entry: Entry, folder: Path) -> list[str]:
    """A rerun of a run of `order.yaml`; ``more``: the phase of the old one, and the type of its error."""
    plan = draft_of(str(folder / "order.yaml"))[0].plan
    phase, _, kind = entry.more.partition(" ")
    old = _record(plan, Phase[phase.upper()], {"type": kind} if kind else None)
    document = {"apiVersion": "leat.dev/v1alpha1", "kind": "WorkflowRun", "metadata": {"name": "again"}}
    asked = parse_run({**document, "spec": yaml.safe_load(entry.written)}).spec.rerun
    assert asked is not None
    states = dict.fromkeys(range(1, plan.total + 1), State.SUCCEEDED)
    return _reasons(lambda: clean_again(plan, old) if asked.compensate else begin_again(plan, old, states, asked.start))


def _record(plan: Plan, phase: Phase, failure: Mapping[str, Any] | None) -> RunRecord:
    return RunRecord(
        run_id=RUN, namespace="shop", name="order-1", workflow="order", revision=plan.revision, uid="", generation=1,
        phase=phase, suspended=False, stopping=None, inputs={}, output=None, error=failure, priority=0,
        total=plan.total, live=0, succeeded=0, failed=0, skipped=0, started_at=AT, finished_at=AT,
    )  # fmt: skip


def _migrated(entry: Entry, _folder: Path) -> list[str]:
    """Of a run under way: ``was`` and ``becomes`` are steps or specs, ``begun`` says how steps are."""
    written = yaml.safe_load(entry.written)
    old, new = (_plan_of(written[word], word) for word in ("was", "becomes"))
    rows, spans = [], []
    for name, label in written["begun"].items():
        step = next(step for step in old.steps if step.name == name)
        state = {"Running": State.CLAIMED}.get(label) or next(each for each in State if each.label == label)
        rows.append(Progress(0, step.id, state, 1, executed=True))
        if step.opens is not None and not state.done:
            size = getattr(step.opens, "max", None) or 3
            spans.append(Span(0, step.id, step.opens.body, 1, size, 1))
    return _reasons(lambda: compare(old, new, written.get("inputs", {}), rows, spans))


def _plan_of(written: Any, name: str) -> Plan:
    spec = written if isinstance(written, dict) else {"steps": written}
    plan = plan_of(parse_spec(spec), "spec")
    return replace(plan, revision={"was": "r-1", "becomes": "r-2"}[name])


def _reasons(asked: Any) -> list[str]:
    try:
        found = asked()
    except Rejected as rejected:
        return list(map(str, rejected.reasons))
    raise AssertionError(f"no mistake: {found}")


_SAYING = {
    "file": _file,
    "steps": _workflow,
    "spec": _workflow,
    "run": _run,
    "played": _played,
    "testfile": _tested,
    "durations": _simulated,
    "command": _commanded,
    "rerun": _again,
    "migration": _migrated,
}
