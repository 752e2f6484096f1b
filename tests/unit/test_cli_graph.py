"""Workflows as pictures."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.samples import FOLDER
from typer.testing import CliRunner

from leat_cli.__main__ import app
from leat_cli.drawing.dot import dot
from leat_cli.drawing.layers import Size, layered
from leat_cli.drawing.mermaid import mermaid
from leat_cli.drawing.picture import Body, Link, Node, Picture, picture_of
from leat_cli.drawing.svg import svg
from leat_cli.drawing.text import text
from leat_cli.order import draft_of
from leat_engine.plan import END, compile_plan
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models

GOLDEN = Path(__file__).parent / "golden" / "graph"
FORMS = {"text": text, "mermaid": mermaid, "dot": dot, "svg": svg}
ODD = 'a "b" <c> & `d` \\ # \x01 %% ;'
NESTED = Picture(
    "order",
    (
        Node(1, "load", "http"),
        Node(
            2, "each", "forEach", bodies=(Body("", (Node(3, "charge", "http"), Node(4, "mail", "http", "item.mail"))),)
        ),
        Node(
            5,
            "choose",
            "switch",
            bodies=(Body("case 1", (Node(6, "fast", "wait"),)), Body("case 2", (Node(7, "slow", "wait"),))),
        ),
    ),
    (Link(1, 2), Link(3, 4, "Failed"), Link(2, 5, "Finished")),
)


def parsed(drawing: str) -> ET.Element:
    return ET.fromstring(drawing)  # noqa: S314 - made a line above


@pytest.mark.parametrize("form", FORMS)
def test_a_workflow_is_drawn_as_it_was_agreed(form):
    done = CliRunner().invoke(app, ["graph", str(GOLDEN / "order.yaml"), "--format", form])
    assert done.exit_code == 0
    assert done.output == (GOLDEN / f"order.{form}").read_text()


@pytest.mark.parametrize("form", FORMS)
def test_steps_inside_of_steps_are_drawn_as_it_was_agreed(form):
    assert FORMS[form](NESTED) == (GOLDEN / f"nested.{form}").read_text()


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_sample_that_is_right_is_drawn_in_every_form(file):
    if file.stem == "invalid":
        return
    order, _ = draft_of(str(file))
    names = [step.name for step in order.plan.steps if step.id > END]
    picture = picture_of(order.plan, order.workflow)
    for form in FORMS.values():
        drawing = form(picture)
        assert all(name in drawing for name in names)
    words = [each.text for each in parsed(svg(picture)).iter("{http://www.w3.org/2000/svg}text")]
    assert set(names) <= set(words)


def test_the_page_shows_what_the_command_answers():
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "authoring.md").read_text()
    (shown,) = re.findall(r"<!-- console: leat graph \S+ -->\n```\n(.*?)```", page, re.DOTALL)
    assert CliRunner().invoke(app, ["graph", str(FOLDER / "conditions.yaml")]).output == shown


def test_an_invalid_workflow_is_answered_with_every_mistake():
    done = CliRunner().invoke(app, ["graph", str(FOLDER / "invalid.yaml")])
    assert len(done.exception.problems) == 4


def test_the_workflow_to_draw_may_be_named(tmp_path):
    file = tmp_path / "two.yaml"
    one = (GOLDEN / "order.yaml").read_text()
    file.write_text(f"{one}---\n{one.replace('order-1', 'order-2')}")
    drawn = [CliRunner().invoke(app, ["graph", str(file), *more]).output for more in ([], ["--workflow", "order-1"])]
    assert [each.splitlines()[0] for each in drawn] == ["order-2", "order-1"]
    done = CliRunner().invoke(app, ["graph", str(file), "--workflow", "other"])
    assert str(done.exception) == f"{file}: found no Workflow 'other', expected one of this file: order-1, order-2"


def test_what_a_format_takes_for_its_own_is_drawn_as_text():
    picture = Picture(ODD, (Node(1, ODD, "http", ODD),), ())
    assert ODD.replace("\x01", "\ufffd") in [each.text for each in parsed(svg(picture)).iter()]
    label = dot(picture).split("label=")[1]
    assert label.startswith('"a \\"b\\" <c> & `d` \\\\ # \x01 %% ;\\nhttp')
    assert "#quot;b#quot; #lt;c#gt; #amp; #96;d#96; #92; #35;" in mermaid(picture)


def test_a_step_stands_inside_of_the_one_whose_path_its_own_begins_with():
    spec = {"steps": [{"name": name, "wait": {"duration": "1s"}} for name in ("a", "b", "c", "d", "e")]}
    plan = compile_plan(parse_spec(spec), load_models(), "")
    paths = [
        "",
        "spec.steps[0]",
        "spec.steps[0]",
        "spec.steps[0].steps[0]",
        "spec.steps[0].steps[0].switch[1].steps[0]",
    ]
    paths.append("spec.steps[1]")
    moved = replace(plan, steps=tuple(replace(s, path=p) for s, p in zip(plan.steps, paths, strict=True)))
    first, last = picture_of(moved, "x").nodes
    # The second one has the path of the first: it is what the first one does for each item.
    assert (first.name, first.kind, last.name, last.bodies) == ("a", "wait · wait", "e", ())
    (body,) = first.bodies
    assert [node.name for node in body.nodes] == ["c"]
    (case,) = body.nodes[0].bodies
    assert (case.label, [node.name for node in case.nodes]) == ("case 2", ["d"])


def test_bodies_say_how_often_they_are_done_and_cases_when_they_are_taken():
    inner = [{"name": "x", "transform": 1}]
    steps = [
        {"name": "a", "forEach": "${ inputs.lines }", "maxParallel": 5, "tolerate": "10%", "steps": inner},
        {"name": "b", "forEach": [1, 2], "tolerate": 1, "transform": "${ item }"},
        {"name": "c", "forEach": ["${ inputs.lines }"], "transform": "${ item }"},
        {"name": "d", "repeat": {"until": "${ last > 3 }", "delay": "2s"}, "steps": inner},
        {"name": "e", "repeat": {"max": 3}, "transform": 1},
        {"name": "f", "switch": [{"when": "${ 1 < inputs.n }", "steps": inner}, {"default": True, "steps": inner}]},
    ]
    spec = {"inputs": {"lines": {"type": "array"}, "n": {"type": "integer"}}, "steps": steps}
    nodes = picture_of(compile_plan(parse_spec(spec), load_models(), ""), "x").nodes
    assert [node.remarks for node in nodes] == [
        ("each of inputs.lines, 5 at once, 10% may fail",),
        ("each of 2 items, 500 at once, 1 may fail",),
        ("each of a list, 500 at once",),
        ("until last > 3, 100 times at most, 2s apart",),
        ("3 times",),
        (),
    ]
    assert [body.label for body in nodes[5].bodies] == ["case 1: 1 < inputs.n", "case 2: default"]
    picture = Picture("x", nodes, ())
    assert 'subgraph n6b0["case 1: 1 #lt; inputs.n"]' in mermaid(picture)
    assert 'label="case 1: 1 < inputs.n"' in dot(picture)
    assert "case 1: 1 < inputs.n" in [each.text for each in parsed(svg(picture)).iter()]


def test_what_a_run_does_at_its_end_is_drawn_apart():
    spec = {
        "steps": [{"name": "a", "transform": 1, "compensate": {"transform": 2}}],
        "finally": [{"name": "b", "transform": 1}, {"name": "c", "needs": ["b"], "transform": 1}],
    }
    drawn = text(picture_of(compile_plan(parse_spec(spec), load_models(), ""), "x"))
    assert [re.split(r" {3,}(?=\w)", line.rstrip())[0] for line in drawn.splitlines()] == [
        "x",
        "├─ a",
        "│  ┆ compensate",
        "│  ┆ └─ a.compensate",
        "└─ at the end",
        "   ┆ └─ b",
        "   ┆    └─ c",
    ]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[int, Size], list[tuple[int, int]]]:
    count = draw(st.integers(1, 25))
    sizes = {n: Size(draw(st.integers(10, 300)), draw(st.integers(10, 200))) for n in range(count)}
    links = [(m, n) for n in range(1, count) for m in draw(st.sets(st.integers(0, n - 1), max_size=4))]
    return sizes, links


@given(graphs())
def test_boxes_stand_apart_below_what_leads_to_them_and_no_line_passes_a_box(graph):
    sizes, links = graph
    found = layered(sizes, links, 20.0, 40.0)
    frames = {}
    for box, size in sizes.items():
        left, top = found.places[box]
        frames[box] = (left, top, left + size.width, top + size.height)
        assert -0.01 <= left <= left + size.width <= found.size.width + 0.01
        assert -0.01 <= top <= top + size.height <= found.size.height + 0.01
    ordered = sorted(frames.items())
    for n, (_, (left, top, right, bottom)) in enumerate(ordered):
        for _, (other_left, other_top, other_right, other_bottom) in ordered[n + 1 :]:
            beside = right + 19.9 <= other_left or other_right + 19.9 <= left
            assert beside or bottom + 39.9 <= other_top or other_bottom + 39.9 <= top
    for (source, target), line in zip(links, found.lines, strict=True):
        assert frames[source][3] < frames[target][1]
        assert line[0][1] == pytest.approx(frames[source][3])
        assert line[-1][1] == pytest.approx(frames[target][1])
        for (x, begin), (same, end) in zip(line[2:-2:2], line[3:-2:2], strict=True):
            assert x == same
            crossed = [f for f in frames.values() if f[0] < x < f[2] and f[1] < end and begin < f[3]]
            assert not crossed


def test_five_thousand_steps_are_drawn():
    nodes = tuple(Node(n, f"s{n}", "transform") for n in range(1, 5001))
    links = tuple(Link(n - 50, n) for n in range(51, 5001)) + tuple(Link(n, 5000) for n in range(1, 4949))
    assert len(parsed(svg(Picture("wide", nodes, links)))) > 5000
