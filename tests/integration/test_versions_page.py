"""Every command of the page about versions, on a database in which the Workflow was applied three times."""

from pathlib import Path

import yaml
from tests.support.console import BLOCK, tried
from tests.support.hand import Hand, accepted, done
from tests.support.load import plan_of

from leat_engine.plan import revision_id
from leat_engine.records import Revision
from leat_engine.spec import parse_spec
from leat_engine.store.writes import Lateness
from leat_engine.view import RunView

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "versions.md"
NAMES = ("FIRST", "SECOND", "THIRD")


async def test_the_page_says_what_happens(store, database, tmp_path):
    page = PAGE.read_text()
    specs = [yaml.safe_load(block["text"])["spec"] for block in BLOCK.finditer(page) if block["file"]]
    spec, *_ = specs
    for words in specs:
        whole = parse_spec(words).as_json()
        await store.versions.note(Revision(revision_id(whole), "default", "order", whole))
    hand = await Hand.registered(store)
    inputs = {"orderId": "A-17"}
    run, jobs = await accepted(store, spec, namespace="default", workflow="order", name="order-1", inputs=inputs)
    (claim,) = await hand.claim(jobs)
    view = RunView(run.run_id, plan_of(spec), run.namespace, run.name, run.inputs)
    view.live.add(1)
    await hand.end(view, done(1))
    review = claim.key._replace(step=2)
    assert len(await store.delay(hand.runner, [Lateness(review, 1, 3600.0, "default", None)])) == 1
    for name, words in zip(NAMES, specs, strict=True):
        page = page.replace(name, plan_of(words).revision)
    assert tried(page, tmp_path, {"LEAT_DATABASE_URL": database}) == 6
    record = await store.run(run.run_id)
    assert (record.revision, record.inputs, record.live) == (plan_of(specs[1]).revision, inputs | {"language": "en"}, 1)
