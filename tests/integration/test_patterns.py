"""The control-flow patterns of the page, each run to the end, and by the way, that its file states."""

import json
import re
import textwrap
from collections import Counter
from datetime import UTC, datetime
from os import urandom
from pathlib import Path

import pytest
from tests.support.cli import leat
from tests.support.queue import eventually
from tests.support.samples import samples_of

from leat_cli.order import order_of
from leat_engine.caretakers import CaretakerOptions, Caretakers
from leat_engine.job import uuid7
from leat_engine.queue.local import LocalQueue
from leat_engine.records import NewRun, Revision, Root, Stop
from leat_engine.result import Phase, State
from leat_engine.waits import Fate, Signal
from leat_runner.kinds import KindSettings, KindSetup, load_kinds
from leat_runner.work import Runner, RunnerOptions

ROOT = Path(__file__).parents[2]
PATTERNS = samples_of(ROOT / "config" / "patterns")
PAGE = ROOT / "docs" / "how-to" / "patterns.md"
CANCEL = Stop(Phase.CANCELLED, interrupt=True, error={"type": "Cancelled", "message": "by a test"})


@pytest.fixture
async def begin(store):
    """Lets the run of a file begin, on a runner that takes it."""
    queue = LocalQueue()
    runner = Runner(store, queue, load_kinds(KindSetup(KindSettings())), RunnerOptions("patterns", slots=20))
    caretakers = Caretakers(store, queue, CaretakerOptions(interval=0.2))
    await runner.start()
    caretakers.start()

    async def start(sample, *pairs):
        order = order_of(str(sample.file), pairs, None)
        run_id, plan = uuid7(datetime.now(UTC), urandom(10)), order.plan
        await store.save_revision(Revision(plan.revision, "default", order.workflow, order.spec))
        roots = tuple(Root(root, "default") for root in plan.roots)
        revision, inputs, total = plan.revision, order.inputs, plan.total
        new = NewRun(run_id, "default", order.name, order.workflow, revision, inputs, roots, total)
        (accepted,) = await store.accept([new])
        await queue.publish(accepted.jobs)
        if order.cancel:
            await eventually(lambda: _waiting(store, run_id), True)
            await queue.publish(await store.stop(run_id, CANCEL))
        return run_id, plan

    yield start
    await caretakers.stop()
    await runner.stop()


async def _waiting(store, run_id):
    return any(step.state is State.DELAYED for step in await store.steps(run_id))


async def ended(store, run_id):
    async def done():
        return (await store.run(run_id)).phase.done

    await eventually(done, True, 60)
    return await store.run(run_id)


async def way(store, run_id, plan):
    """How the steps ended by their names, with how often if that was more than once; and when each of them last did."""
    steps = [step for step in await store.steps(run_id) if step.key.step > 0]
    ends: dict[str, Counter[str]] = {}
    for step in sorted(steps, key=lambda step: step.key.step):
        ends.setdefault(plan.steps[step.key.step].name, Counter())[step.state.label] += 1
    told = {name: ", ".join(_times(*end) for end in sorted(of.items())) for name, of in ends.items()}
    last = {plan.steps[step.key.step].name: step.finished_at for step in sorted(steps, key=_finished)}
    return told, last


def _finished(step):
    return step.finished_at


def _times(label, count):
    return label if count == 1 else f"{label} x{count}"


@pytest.mark.parametrize("sample", PATTERNS, ids=lambda sample: sample.file.stem)
async def test_the_pattern_goes_the_way_that_its_file_states(begin, store, sample):
    run_id, plan = await begin(sample)
    fates = []
    for number, told in enumerate(json.loads(sample.stated("signals") or "[]")):
        delivery = await store.signals.deliver(run_id, Signal(str(number), told["name"], told["payload"]))
        fates.append(delivery.fate)
    assert fates[:1] in ([], [Fate.DELIVERED]), "later ones may find the run at its end"
    run = await ended(store, run_id)
    assert (run.phase.label, run.output) == (sample.phase, sample.output), run.error
    ends, last = await way(store, run_id, plan)
    assert ends == json.loads(sample.stated("steps"))
    order = [last[name] for name in (sample.stated("order") or "").split()]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("stem", "pairs", "output"),
    [
        ("04-exclusive-choice", ["amount=50"], "nobody"),
        ("04-exclusive-choice", ["amount=20000"], "the board"),
        ("05-simple-merge", ["card=false"], "invoiced"),
        ("07-synchronizing-merge", ["customer={}"], []),
        ("07-synchronizing-merge", ['customer={"phone": "1"}'], ["phone"]),
        ("16-deferred-choice", ["patience=100ms"], "reminded"),
    ],
)
async def test_the_pattern_takes_its_other_ways(begin, store, stem, pairs, output):
    (sample,) = [each for each in PATTERNS if each.file.stem == stem]
    run_id, _ = await begin(sample, *pairs)
    assert (await ended(store, run_id)).output == output


async def test_an_order_is_changed_while_its_milestone_stands(begin, store):
    (sample,) = [each for each in PATTERNS if each.file.stem == "18-milestone"]
    run_id, _ = await begin(sample, "window=1h")
    await store.signals.deliver(run_id, Signal("1", "change", {"order": "A-17", "count": 5}))
    assert (await ended(store, run_id)).output == {"order": "A-17", "count": 5}


def test_nothing_about_the_patterns_is_doubtful():
    done = leat("lint", "--strict", *(str(sample.file) for sample in PATTERNS))
    assert (done.code, done.err) == (0, f"no mistakes in {len(PATTERNS)} files\n")


def sections():
    for section in PAGE.read_text().split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        number, _, name = title.partition(". ")
        yield int(number), name, text


def test_the_page_has_every_pattern_as_it_is_run():
    found = list(sections())
    assert [number for number, _, _ in found] == list(range(1, 21))
    for (number, name, text), sample in zip(found, PATTERNS, strict=True):
        written = sample.file.read_text()
        (block,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
        assert textwrap.indent(block, "  ") in written, name
        assert written.startswith(f"# {number}. {name}: "), name
        assert f"(../../config/patterns/{sample.file.name})" in text
        if sample.output is not None:
            assert f"Gives `{json.dumps(sample.output)}`" in " ".join(text.split()), name
