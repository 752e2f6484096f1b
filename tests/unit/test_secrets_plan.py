from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from leat_engine.errors import ExpressionError, Rejected
from leat_engine.expression import SECRETS, Held, SecretRef
from leat_engine.plan import Plan, compile_plan
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import Outward, load_models

TOKEN = SecretRef("pay", "token")


class Mail(BaseModel):
    """A third party's kind."""

    subject: str
    password: Annotated[str, Outward()] = ""


MODELS = {**load_models(), "mail": Mail}
READ = "${ secret('pay', 'token') }"


def plan(*steps: dict[str, Any], **spec: Any) -> Plan:
    named = [{"name": f"s{number}", **step} for number, step in enumerate(steps)]
    return compile_plan(parse_spec({"steps": named, **spec}), MODELS, "r")


def rejected(*steps: dict[str, Any], **spec: Any) -> dict[str, str]:
    with pytest.raises(Rejected) as caught:
        plan(*steps, **spec)
    return {reason.path: reason.message for reason in caught.value.reasons}


OUTWARD = {
    "http": {"url": "http://x", "headers": {"A": READ}, "query": {"q": [READ]}, "body": {"a": [{"b": READ}]}},
    "script": {"run": "true", "env": {"A": f"Bearer {READ}"}, "stdin": READ},
    "function": {"name": "f", "with": {"a": READ, "b": "${ [1].map(x, secret('other', 'key')) }"}},
    "mail": {"subject": "x", "password": READ},
}


@pytest.mark.parametrize("kind", OUTWARD)
def test_a_step_knows_what_it_reads_where_values_go_outside(kind):
    secrets = plan({kind: OUTWARD[kind]}).steps[1].secrets
    assert secrets == ((SecretRef("other", "key"), TOKEN) if kind == "function" else (TOKEN,))


INWARD = {
    "spec.vars.v": {"vars": {"v": READ}},
    "spec.output.b": {"output": {"a": 1, "b": READ}},
    "spec.defaults.retry.when": {"defaults": {"retry": {"when": "${ secret('pay', 'token') == '' }"}}},
    "spec.steps[0].when": {"when": "${ secret('pay', 'token') == '' }"},
    "spec.steps[0].retry.when": {"retry": {"when": "${ secret('pay', 'token') == '' }"}},
    "spec.steps[0].transform.a": {"transform": {"a": READ}},
    "spec.steps[0].fail.message": {"fail": {"message": READ}},
    "spec.steps[0].wait.duration": {"wait": {"duration": READ}},
    "spec.steps[0].http.url": {"http": {"url": f"http://{READ}/"}},
    "spec.steps[0].http.method": {"http": {"url": "http://x", "method": READ}},
    "spec.steps[0].function.name": {"function": {"name": READ}},
    "spec.steps[0].mail.subject": {"mail": {"subject": READ}},
}


@pytest.mark.parametrize("path", INWARD)
def test_a_secret_is_refused_where_it_would_be_stored_shown_or_decide(path):
    given = dict(INWARD[path])
    spec = {name: given.pop(name) for name in ("vars", "output", "defaults") if name in given}
    step = given if given.keys() & MODELS.keys() else {**given, "transform": 1}
    message = rejected(step, **spec)[path]
    assert "reads secret('pay', 'token'), which would be stored or shown here" in message
    assert "http.body, http.headers, http.query, mail.password, publish.amqp, publish.kafka, script.env" in message


def test_a_secret_in_a_default_of_an_input_is_refused_as_it_would_stay_text():
    found = rejected({"transform": 1}, inputs={"token": {"type": "string", "default": READ}})
    assert "never evaluated" in found["spec.inputs.token.default"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("secret(inputs.which, 'token')", "both texts in quotes"),
        ("secret('pay', 'to' + 'ken')", "both texts in quotes"),
        ("secret('pay')", "both texts in quotes"),
        ("secret('pay', 'token', 'x')", "both texts in quotes"),
        ("['a', 'b'].map(name, secret(name, 'token'))", "both texts in quotes"),
        ("secret(1, 2)", "no matching overload"),
        ("secret('Pay', 'token')", "'Pay' is no name of a secret"),
        ("secret('../pay', 'token')", "'../pay' is no name of a secret"),
        ("secret('a..b', 'token')", "'a..b' is no name of a secret"),
        ("secret('pay', '..')", "'..' is no key of a secret"),
        ("secret('pay', 'a/b')", "'a/b' is no key of a secret"),
        ("secret('pay', '..data')", "'..data' is no key of a secret"),
        ("secret('pay', '')", "'' is no key of a secret"),
    ],
)
def test_what_is_read_stands_in_quotes_and_leads_nowhere_else(text, said):
    found = rejected({"script": {"run": "true", "stdin": f"${{ {text} }}"}}, inputs={"which": {"default": "x"}})
    assert said in found["spec.steps[0].script.stdin"]


def fields(text: str, value: str, **bound: Any) -> tuple[Any, Held]:
    step = plan({"script": {"run": "true", "stdin": text}}, inputs={"a": {"default": 1}}).steps[1]
    held = Held({TOKEN: value})
    return step.fields.evaluate({"inputs": {}, **bound, SECRETS: held})["stdin"], held


def test_a_secret_is_a_text_like_others_and_what_became_of_it_is_kept_in_mind():
    assert fields(f"Bearer {READ}", "geheim") == ("Bearer geheim", Held({TOKEN: "geheim"}, ["geheim"]))
    value, held = fields("Basic ${ bytes('shop:' + secret('pay', 'token')) }", "geheim")
    assert (value, held.results) == ("Basic c2hvcDpnZWhlaW0=", ["c2hvcDpnZWhlaW0="])
    assert fields("${ [1, 2].map(x, secret('pay', 'token').upperAscii()) }", "ab")[0] == ["AB", "AB"]


@pytest.mark.parametrize(
    "text",
    [
        "inputs[secret('pay', 'token')]",
        "int(secret('pay', 'token'))",
        "{1: secret('pay', 'token')}",
        "[1, secret('pay', 'token')].map(x, x).join('-')",
        "timestamp(secret('pay', 'token'))",
        "inputs.a.b + secret('pay', 'token')",
        "secret('pay', 'token').substring(100)",
    ],
)
def test_an_error_of_an_expression_with_a_secret_tells_nothing_of_what_it_met(text):
    with pytest.raises(ExpressionError) as caught:
        fields(f"${{ {text} }}", "geheimnisvoll")
    assert str(caught.value).startswith("spec.steps[0].script.stdin: ")
    assert "cannot be evaluated; why is not told" in str(caught.value)
    assert "geheim" not in repr(caught.value.__cause__)


def test_without_values_the_expression_fails_and_with_them_only_this_evaluation_sees_them():
    step = plan({"script": {"run": "true", "stdin": READ}}).steps[1]
    with pytest.raises(ExpressionError, match="none were read"):
        step.fields.evaluate({})
    assert step.fields.evaluate({SECRETS: Held({TOKEN: "one"})})["stdin"] == "one"
    assert step.fields.evaluate({SECRETS: Held({TOKEN: "two"})})["stdin"] == "two"


def test_a_value_that_looks_like_an_expression_is_not_evaluated():
    assert fields(READ, "${ 1 + 1 }")[0] == "${ 1 + 1 }"
