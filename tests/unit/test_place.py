"""Where a step that made its run fail is, for people."""

from uuid import UUID

import pytest
from tests.support.load import plan_of

from leat_engine.view import RunView

STEPS = [
    {"name": "alone", "transform": 1},
    {"name": "kind", "forEach": [1, 2], "transform": 1},
    {
        "name": "each",
        "forEach": [1, 2],
        "steps": [
            {"name": "again", "repeat": {"max": 3}, "steps": [{"name": "ask", "transform": 1}]},
            {"name": "way", "switch": [{"default": True, "steps": [{"name": "left", "transform": 1}]}]},
        ],
    },
]


@pytest.mark.parametrize(
    ("name", "scopes", "place"),
    [
        ("alone", (), "alone"),
        ("kind", (1,), "kind[1]"),
        ("ask", (1, 2), "each[1]/again[2]/ask"),
        ("left", (0, 0), "each[0]/way/left"),
    ],
)
def test_a_step_of_a_body_is_told_with_the_items_and_iterations_around_it(name, scopes, place):
    plan = plan_of({"steps": STEPS})
    node = [step for step in plan.steps if step.name == name][-1]
    bodies, body = [], plan.bodies[node.body]
    while body.number:
        bodies.insert(0, body)
        body = plan.bodies[body.parent]
    view = RunView(UUID(int=1), plan, "test", "run", {})
    for number, (each, index) in enumerate(zip(bodies, scopes, strict=True), start=1):
        view = view.open(number, each.number, index, {})
    assert view.place(node) == place
