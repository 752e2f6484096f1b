"""Step templates: each of the catalogue on the wire, what a step is made of, and what is said of mistakes."""

import json
import re
from base64 import b64encode
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given as for_all
from hypothesis import strategies as st
from tests.support.steps import STEP, a_setup
from typer.testing import CliRunner

from leat_cli.__main__ import app
from leat_engine import limits
from leat_engine.errors import Rejected
from leat_engine.expression import SECRETS, Held, as_text, compile_template
from leat_engine.plan import compile_plan, revision_id
from leat_engine.result import Failed, Succeeded
from leat_engine.spec import parse_run, parse_spec, parse_workflow
from leat_engine.spec.catalogue import expanded, library
from leat_engine.spec.catalogue.fill import ABSENT, Budget, NotFilled, fill
from leat_engine.spec.kinds import load_models
from leat_runner.kinds.http import HttpKind

ROOT = Path(__file__).parents[2]
TOKEN = "${ secret('shop', 'token') }"  # noqa: S105 - where the value is, not the value
RUN = {"id": "0190a6c0", "namespace": "shop", "name": "order-1", "workflow": "order", "phase": "Running"}
INPUTS = {"id": "A-17", "labels": ["late", "paid"], "repo": "shop/../x"}


def spec_of(use, given=None, **more):
    step = {"name": "a", "use": use, **({} if given is None else {"with": given})}
    return {"inputs": {name: {} for name in INPUTS}, "steps": [step], **more}


def made(use, given=None, **more):
    return parse_spec(spec_of(use, given, **more)).as_json()["steps"][0]


def refused(spec):
    with pytest.raises(Rejected) as error:
        parse_spec(spec)
    return [str(reason).removeprefix("spec.") for reason in error.value.reasons]


# On the wire.


class Other:
    """The other side: it remembers the request, and answers as it is told."""

    def __init__(self):
        self.status, self.requests, self.bodies = 200, [], []

    async def handle(self, request):
        self.requests.append(request)
        self.bodies.append(await request.json())
        return web.json_response({"ok": True}, status=self.status)


@pytest.fixture
async def other():
    other = Other()
    service = web.Application()
    service.router.add_route("*", "/{path:.*}", other.handle)
    async with TestServer(service) as server:
        other.url = str(server.make_url("/")).rstrip("/")
        yield other


async def sent(use, given):
    """Send what a runner would send for a step."""
    plan = compile_plan(parse_spec(spec_of(use, given)), load_models(), "r")
    step = plan.steps[1]
    held = Held(dict.fromkeys(step.secrets, "s3cr3t-token"))
    fields = step.fields.evaluate({"inputs": INPUTS, "run": RUN, "steps": {}, "vars": {}, SECRETS: held})
    kind = HttpKind(a_setup())
    try:
        return await kind.execute(STEP, step.model.model_validate(fields))
    finally:
        await kind.close()


JIRA = {"site": "https://x/", "project": "A", "summary": "x", "token": TOKEN}
GITHUB = {"owner": "acme", "repo": "shop", "token": TOKEN}
ENTRIES = [
    (
        "slack/post-message",
        "baseUrl",
        {"channel": "#orders", "text": "order ${ inputs.id } is late", "token": TOKEN, "threadTs": "17.3"},
        200,
        "/api/chat.postMessage",
        "Bearer s3cr3t-token",
        {"channel": "#orders", "text": "order A-17 is late", "thread_ts": "17.3"},
    ),
    (
        "github/create-issue",
        "baseUrl",
        {**GITHUB, "repo": "${ 'shop/' + inputs.id }", "title": "Late: ${ inputs.id }", "labels": "${ inputs.labels }"},
        201,
        "/repos/acme/shop%2FA-17/issues",
        "Bearer s3cr3t-token",
        {"title": "Late: A-17", "labels": ["late", "paid"]},
    ),
    (
        "github/dispatch-workflow",
        "baseUrl",
        {**GITHUB, "workflow": "release.yml", "ref": "v2", "inputs": {"order": "${ inputs.id }"}},
        204,
        "/repos/acme/shop/actions/workflows/release.yml/dispatches",
        "Bearer s3cr3t-token",
        {"ref": "v2", "inputs": {"order": "A-17"}},
    ),
    (
        "jira/create-issue",
        "site",
        {
            "project": "SHOP",
            "summary": "Order ${ inputs.id }",
            "user": "me@acme.example",
            "token": TOKEN,
            "labels": ["late"],
        },
        201,
        "/rest/api/2/issue",
        "Basic " + b64encode(b"me@acme.example:s3cr3t-token").decode(),
        {
            "fields": {
                "project": {"key": "SHOP"},
                "issuetype": {"name": "Task"},
                "summary": "Order A-17",
                "labels": ["late"],
            }
        },
    ),
    (
        "pagerduty/trigger",
        "baseUrl",
        {"summary": "no stock for ${ inputs.id }", "routingKey": TOKEN, "details": {"order": "${ inputs.id }"}},
        202,
        "/v2/enqueue",
        None,
        {
            "routing_key": "s3cr3t-token",
            "event_action": "trigger",
            "dedup_key": "0190a6c0",
            "payload": {
                "summary": "no stock for A-17",
                "severity": "error",
                "source": "shop/order",
                "custom_details": {"order": "A-17"},
            },
        },
    ),
    (
        "webhook/post",
        "url",
        {"body": {"order": "${ inputs.id }", "n": 3}, "authorization": "Bearer " + TOKEN},
        204,
        "/",
        "Bearer s3cr3t-token",
        {"order": "A-17", "n": 3},
    ),
]


def test_every_template_of_the_catalogue_is_tried_on_the_wire():
    assert [entry[0] for entry in ENTRIES] == sorted(library(), key=[entry[0] for entry in ENTRIES].index)


@pytest.mark.parametrize(("use", "base", "given", "status", "path", "authorization", "body"), ENTRIES)
async def test_a_step_of_the_catalogue_sends_what_the_other_side_takes(  # noqa: PLR0917 - a row of the table
    other, use, base, given, status, path, authorization, body
):
    other.status = status
    outcome = await sent(use, {**given, base: other.url})
    assert isinstance(outcome, Succeeded)
    (request,) = other.requests
    assert (request.method, request.rel_url.raw_path) == ("POST", path)
    assert request.headers.get("Authorization") == authorization
    assert request.headers["Content-Type"] == "application/json"
    assert other.bodies == [body]


async def test_an_answer_that_is_none_of_success_fails_the_step(other):
    other.status = 404
    outcome = await sent("github/create-issue", {**GITHUB, "title": "x", "baseUrl": other.url})
    assert isinstance(outcome, Failed)


def test_a_value_from_outside_cannot_lead_to_another_place():
    step = made("github/create-issue", {**GITHUB, "repo": "${ inputs.repo }", "title": "x"})
    url = compile_template(step["http"]["url"], "url", {"inputs": None})
    assert url.evaluate({"inputs": INPUTS}) == "https://api.github.com/repos/acme/shop%2F..%2Fx/issues"


# What a step is made of.


def test_a_step_keeps_its_own_fields_and_is_whole_when_it_is_stored():
    spec = spec_of("webhook/post", {"url": "https://x/", "body": 1})
    spec["steps"][0] |= {"needs": ["b"], "timeout": "3s", "when": "${ inputs.id != '' }"}
    spec["steps"].append({"name": "b", "transform": 1})
    stored = parse_spec(spec).as_json()
    assert stored["steps"][0] == {
        "name": "a",
        "needs": [{"step": "b"}],
        "timeout": "3s",
        "when": "${ inputs.id != '' }",
        "http": {"method": "POST", "url": "https://x/", "headers": {}, "body": 1},
    }
    assert parse_spec(stored).as_json() == stored
    assert revision_id(stored) == revision_id(parse_spec(spec).as_json())


def test_a_workflow_may_bring_templates_and_a_run_that_brings_its_own_workflow_too():
    template = {
        "parameters": {"n": {"type": "integer"}},
        "step": {"transform": {"n": "${ params.n + 1 }"}, "timeout": "9s"},
    }
    spec = {"templates": {"next": template}, "steps": [{"name": "a", "use": "next", "with": {"n": 1}, "timeout": "1s"}]}
    head = {"apiVersion": "leat.dev/v1alpha1", "metadata": {"name": "x"}}
    expected = {"steps": [{"name": "a", "transform": {"n": "${ 1 + 1 }"}, "timeout": "1s"}]}
    assert parse_workflow({**head, "kind": "Workflow", "spec": spec}).spec.as_json() == expected
    run = parse_run({**head, "kind": "WorkflowRun", "spec": {"inline": spec}})
    assert run.spec.inline.as_json() == expected


def test_steps_inside_of_steps_are_made_too():
    use = {"name": "a", "use": "webhook/post", "with": {"url": "https://x/", "body": 1}}
    outer = {"name": "o", "steps": [use], "switch": [{"when": True, "steps": [use]}], "compensate": {**use}}
    reasons = []
    found = expanded({"steps": [outer], "finally": [use]}, "spec", reasons)
    assert reasons == []
    assert json.dumps(found).count('"http"') == 4
    assert '"use"' not in json.dumps(found)


def test_a_spec_of_the_wrong_shape_is_left_to_others():
    for spec in (
        {},
        {"steps": 1},
        {"steps": [1, {"name": "a"}]},
        {"templates": 1, "steps": []},
        {"templates": {"t": 1}},
    ):
        assert refused(spec)


WORDS = ["name", "steps", "use", "with", "templates", "switch", "compensate", "finally", "parameters", "step", "inputs",
         "vars", "t", "transform", "default", "optional", "sensitive", "type"]  # fmt: skip
SCALARS = st.sampled_from(
    [None, True, 1, "t", "webhook/post", "${ params.x }", "${ params.x", "a ${ params.t } ${ 1 }"]
)
SHAPES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner), max_leaves=25
)


@for_all(SHAPES)
def test_whatever_is_written_is_taken_or_rejected_with_reasons(spec):
    with suppress(Rejected):
        parse_spec(spec)


def test_nesting_without_end_ends():
    step, value = {"name": "a", "use": "webhook/post"}, {}
    for _ in range(2000):
        step, value = {"name": "a", "steps": [step]}, {"a": value}
    expanded({"steps": [step]}, "spec", [])
    for given, said in (({"t": {"step": {"transform": value}}}, "is nested deeper"), ({}, "is nested deeper")):
        use = {"use": "t"} if given else {"use": "webhook/post", "with": {"body": value}}
        reasons = []
        expanded({"templates": given, "steps": [{"name": "a", **use}]}, "spec", reasons)
        assert said in str(reasons[0])


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=1),
    max_leaves=5,
)


def written(value):
    """A value as it stands in a spec: a literal `${` is doubled."""
    match value:
        case str():
            return value.replace("${", "$${")
        case list():
            return [written(item) for item in value]
        case dict():
            return {key: written(item) for key, item in value.items()}
        case _:
            return value


@for_all(VALUES)
def test_a_value_arrives_as_it_is_wherever_its_parameter_stands(value):
    def arrived(template, given):
        filled = fill(template, {"x": given}, Budget())
        return compile_template(filled, "f", {"inputs": None}).evaluate({"inputs": {"v": value}})

    for given in (written(value), "${ inputs.v }", "${ inputs.v // it\n}"):
        assert arrived("${ params.x }", given) == value
        if isinstance(given, str) or "${" not in json.dumps(given):
            assert arrived("${ [params.x, 'params.x'] }", given) == [value, "params.x"]
    assert arrived("a ${params.x} b", "${ inputs.v }") == f"a {as_text(value)} b"
    if isinstance(value, str):
        assert arrived("a ${ params.x } b", written(value)) == f"a {value} b"


def test_an_operand_means_the_same_whatever_stands_around_it():
    filled = fill("${ params.a * params.b }", {"a": "${ inputs.v + 1 }", "b": 2}, Budget())
    assert compile_template(filled, "f", {"inputs": None}).evaluate({"inputs": {"v": 3}}) == 8


def test_what_holds_nothing_but_an_absent_parameter_is_left_out():
    body = {"a": "${ params.x }", "b": ["${ params.x }", 1], "c": "[${ params.x }]", "d": "${ params.x == null }"}
    assert fill(body, {"x": ABSENT}, Budget()) == {"b": [1], "c": "[]", "d": "${ null == null }"}


# Mistakes.


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"use": "webhook/pots"}, "steps[0].use: there is no template 'webhook/pots'; did you mean 'webhook/post'?"),
        ({"use": 3}, "steps[0].use: found int, expected the name of a template, such as slack/post-message"),
        ({"use": "webhook/post", "with": [1]}, "steps[0].with: expected parameters by name"),
        ({"with": {"a": 1}, "transform": 1}, "steps[0].with: belongs to a step with `use`; add it, or remove this"),
        (
            {"use": "webhook/post", "with": {"url": "https://x/", "body": 1}, "http": {}},
            "steps[0].http: has `http` from its template 'webhook/post' already; remove one of them",
        ),
        (
            {"use": "webhook/post", "with": {"url": "https://x/"}},
            (
                "steps[0].with.body: is required and missing (template 'webhook/post': What to post; an object unless "
                "the other side expects something else)"
            ),
        ),
        (
            {"use": "webhook/post", "with": {"url": "https://x/", "body": 1, "headres": {}}},
            (
                "steps[0].with.headres: there is no parameter 'headres'; there is authorization, body, url (of "
                "template 'webhook/post')"
            ),
        ),
        (
            {"use": "pagerduty/trigger", "with": {"summary": "x", "routingKey": TOKEN, "severity": "bad"}},
            (
                'steps[0].with.severity: "bad" is not one of "critical", "error" or 2 other candidates (template '
                "'pagerduty/trigger': How bad it is)"
            ),
        ),
        (
            {"use": "pagerduty/trigger", "with": {"summary": "x", "routingKey": "0123"}},
            (
                "steps[0].with.routingKey: is stored with the workflow as it stands here; write an expression with "
                "secret('NAME', 'KEY')"
            ),
        ),
        (
            {"use": "webhook/post", "with": {"url": "https://x/", "body": {"a": ["${ inputs.di }"]}}},
            "steps[0].with.body.a[0]: ${ inputs.di }: there is no input 'di'; there is id",
        ),
        (
            {"use": "jira/create-issue", "with": {**JIRA, "user": "u ${ inputs.id }"}},
            (
                "steps[0].with.user: is part of an expression there, and no text with expressions in it fits; join it "
                "in one expression, as in ${ 'a ' + inputs.b } (template 'jira/create-issue')"
            ),
        ),
    ],
)
def test_a_mistake_is_said_where_it_was_made_with_the_template_and_what_is_expected(step, said):
    assert refused({"inputs": {"id": {}}, "steps": [{"name": "a", **step}]}) == [said]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ({"parameters": {}}, "templates.t.step: is required and missing"),
        (
            {"step": {"transform": "${ params.y }"}},
            "steps[0].use: reads params.y, which is no parameter of it (template 't')",
        ),
        (
            {"step": {"transform": "${ params }"}},
            "steps[0].use: reads params as a whole; expected params.NAME (template 't')",
        ),
        (
            {"step": {"name": "b", "transform": 1}},
            "templates.t.step.name: belongs to the steps that use the template; remove it here",
        ),
        (
            {"step": {"transform": "${ params.x + "}},
            "steps[0].use: template 't': ${ params.x +: the expression has no closing `}`; write $${ for a literal ${",
        ),
        (
            {"step": {"transform": "${ [1].map(item, item + params.x) }"}},
            "steps[0].use: calls a variable of a macro 'item', which expressions of values may read (template 't')",
        ),
    ],
)
def test_a_template_that_is_wrong_is_said_to_be(template, said):
    whole = {"parameters": {"x": {}}, **template}
    given = {"with": {"x": 1}} if "x" in whole["parameters"] else {}
    assert refused({"templates": {"t": whole}, "steps": [{"name": "a", "use": "t", **given}]}) == [said]


def test_a_secret_may_stand_where_it_is_sent_and_nowhere_else():
    given = {"url": "https://x/${ secret('shop', 'token') }", "body": 1}
    with pytest.raises(Rejected, match=r"http.url: .* reads secret\('shop', 'token'\), which would be stored or shown"):
        compile_plan(parse_spec(spec_of("webhook/post", given)), load_models(), "r")


def test_templates_cannot_blow_a_workflow_up():
    template = {"parameters": {"x": {}}, "step": {"transform": ["${ params.x }"] * 1000}}
    step = {"use": "t", "with": {"x": "y" * 10_000}}
    spec = {"templates": {"t": template}, "steps": [{"name": f"s{n}", **step} for n in range(100)]}
    found = refused(spec)
    assert found[0].startswith(
        f"steps[0].use: the workflow gets larger than {limits.SPEC_BYTES} bytes by its templates"
    )
    with pytest.raises(NotFilled):
        fill("a ${ params.x }", {"x": "y" * 100}, Budget(50))


# To look at.


def test_the_command_shows_every_template_and_a_step_that_is_right():
    listed = CliRunner().invoke(app, ["catalogue", "list", "-o", "json"])
    assert [each["name"] for each in json.loads(listed.stdout)] == list(library())
    for name in library():
        shown = CliRunner().invoke(app, ["catalogue", "show", name])
        assert (shown.exit_code, f"use: {name}" in shown.stdout) == (0, True)
    done = CliRunner().invoke(app, ["catalogue", "show", "slack/post"])
    assert str(done.exception).startswith("there is no template 'slack/post'; there is github/create-issue, ")


def test_the_page_shows_a_part_of_the_sample():
    page = (ROOT / "docs" / "how-to" / "templates.md").read_text()
    (shown,) = re.findall(r"<!-- part of: (\S+) -->\n```yaml\n(.*?)```", page, re.DOTALL)
    assert shown[1] in (ROOT / shown[0]).read_text()
