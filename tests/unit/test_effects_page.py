"""The steps that the page on databases, brokers and mail shows are steps."""

import re
from pathlib import Path

import yaml

from leat_engine.plan import compile_plan
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "databases-brokers-mail.md"
INPUTS = {"order": {"type": "string"}, "customer": {"type": "string"}}


def test_every_step_of_the_page_is_one():
    blocks = re.findall(r"```yaml\n(- .*?)```", PAGE.read_text(), flags=re.DOTALL)
    steps = [step for block in blocks for step in yaml.safe_load(block)]
    plan = compile_plan(parse_spec({"inputs": INPUTS, "steps": steps}), load_models(), "r")
    assert [step.kind for step in plan.steps[1:]] == ["sql", "sql", "publish", "publish", "email"]
