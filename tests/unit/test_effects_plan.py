"""What `plan` says of publish, sql and email steps before anything runs."""

import pytest

from leat_engine.errors import Rejected
from leat_engine.expression import SecretRef
from leat_engine.plan import compile_plan
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models

URL = "postgresql://db/shop"
READ = "${ secret('db', 'url') }"


def plan(step):
    spec = parse_spec({"inputs": {"order": {"type": "string"}}, "steps": [{"name": "s", **step}]})
    return compile_plan(spec, load_models(), "r")


def rejected(step):
    with pytest.raises(Rejected) as caught:
        plan(step)
    return {reason.path.removeprefix("spec.steps[0]."): reason.message for reason in caught.value.reasons}


def test_a_value_reaches_a_statement_by_its_parameters():
    query = "insert into payment values (:idempotencyKey, :order) on conflict do nothing"
    step = plan({"sql": {"url": READ, "query": query, "parameters": {"order": "${ inputs.order }"}}}).steps[1]
    assert step.secrets == (SecretRef("db", "url"),)
    assert step.fields.member("query") == query


def test_an_expression_in_a_statement_is_refused_with_where_it_goes():
    found = rejected({"sql": {"url": URL, "query": "select * from t where id = '${ inputs.order }'"}})
    assert found == {
        "sql.query": (
            "found `${`: a statement holds no expressions, as a value must never be read as SQL; write :name here and "
            "`parameters: {name: ${ ... }}`"
        )
    }


def test_a_parameter_that_is_not_given_is_named_with_the_one_that_is_alike():
    found = rejected({"sql": {"url": URL, "query": "select :ordr", "parameters": {"order": "${ inputs.order }"}}})
    assert found == {"sql.parameters": "`query` reads :ordr, and there is no parameter 'ordr'; did you mean 'order'?"}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"a": 1, "b": 2}, "`query` does not read :b"),
        ({"a": 1, "idempotencyKey": "x"}, "is the key of the step and cannot be given"),
        ({}, "there is no parameter 'a'"),
    ],
)
def test_the_parameters_are_those_of_the_statement(parameters, message):
    assert message in rejected({"sql": {"url": URL, "query": "select :a", "parameters": parameters}})["sql.parameters"]


ESCAPED = "select 'it\\'s', :a"
"""Reads :a where a backslash escapes; elsewhere it is in a string that does not end."""


@pytest.mark.parametrize("url", ["mysql://db/shop", "mariadb://${ inputs.order }/shop", READ, "${ inputs.order }"])
def test_a_statement_is_read_as_the_database_does_to_which_the_url_leads_or_may_lead(url):
    plan({"sql": {"url": url, "query": ESCAPED, "parameters": {"a": 1}}})


def test_a_statement_that_only_another_database_could_read_is_refused():
    found = rejected({"sql": {"url": URL, "query": ESCAPED, "parameters": {"a": 1}}})
    assert found == {"sql.parameters": "`query` does not read :a"}
    found = rejected({"sql": {"url": "mysql://db/shop", "query": "select ?"}})
    assert "found '?', expected a name such as :order" in found["sql.query"]
    dollars = {"query": "select $$ :a $$", "parameters": {}}
    plan({"sql": {"url": URL, **dollars}})
    assert "there is no parameter 'a'" in rejected({"sql": {"url": "mariadb://db/shop", **dollars}})["sql.parameters"]


def test_a_statement_that_no_database_can_read_is_refused_while_the_url_is_not_known():
    found = rejected({"sql": {"url": READ, "query": "select :ordr", "parameters": {"order": 1}}})
    assert found == {"sql.parameters": "`query` reads :ordr, and there is no parameter 'ordr'; did you mean 'order'?"}


def test_a_numbered_parameter_is_refused():
    assert "expected a name such as :order" in rejected({"sql": {"url": URL, "query": "select $1"}})["sql.query"]


def test_parameters_that_are_one_expression_are_checked_when_the_step_runs():
    plan({"sql": {"url": URL, "query": "select :a", "parameters": "${ {'a': 1} }"}})


def test_a_message_may_hold_secrets_and_expressions():
    message = {"url": READ, "exchange": "shop", "routingKey": "paid.${ inputs.order }", "body": {"o": 1}}
    assert plan({"publish": {"amqp": message}}).steps[1].secrets == (SecretRef("db", "url"),)


def test_a_record_may_hold_secrets_and_expressions():
    record = {"url": READ, "topic": "paid", "key": "${ inputs.order }", "value": {"o": "${ inputs.order }"}}
    assert plan({"publish": {"kafka": record}}).steps[1].secrets == (SecretRef("db", "url"),)


def test_a_message_needs_a_broker():
    assert rejected({"publish": {}}) == {"publish": "expected exactly one of `amqp` and `kafka`"}
    both = {"amqp": {"url": "amqp://b"}, "kafka": {"url": "kafka://b", "topic": "x"}}
    assert rejected({"publish": both}) == {"publish": "expected exactly one of `amqp` and `kafka`"}
    assert rejected({"publish": {"amqp": {"exchange": "x"}}}) == {"publish.amqp.url": "is required and missing"}
    assert rejected({"publish": {"kafka": {"topik": "x"}}}) == {
        "publish.kafka.url": "is required and missing",
        "publish.kafka.topic": "is required and missing",
        "publish.kafka.topik": "there is no field 'topik'; did you mean 'topic'?",
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"to": ["a@x.example"]}, "expected `text`, `html` or both"),
        ({"text": "hi"}, "has no recipient"),
    ],
)
def test_a_mail_has_a_body_and_somebody_to_read_it(fields, message):
    found = rejected({"email": {"url": "smtp://mail", "from": "shop@x.example", **fields}})
    assert message in found["email"]


AMQP, KAFKA, MAIL = {"routingKey": "a"}, {"topic": "orders", "value": 1}, {"from": "a@b", "to": ["c@d"], "text": "x"}


@pytest.mark.parametrize(
    ("step", "path", "message"),
    [
        (
            {"sql": {"url": "oracle://db/x", "query": "select 1"}},
            "sql.url",
            "found scheme 'oracle', expected postgresql",
        ),
        ({"sql": {"url": "db.shop:hunter2", "query": "select 1"}}, "sql.url", "found no scheme"),
        ({"publish": {"amqp": {"url": "http://rabbit", **AMQP}}}, "publish.amqp.url", "expected amqp or amqps"),
        ({"publish": {"kafka": {"url": "k:9092", **KAFKA}}}, "publish.kafka.url", "expected kafka or kafkas"),
        ({"publish": {"kafka": {"url": READ, "topic": "a b"}}}, "publish.kafka.topic", "letters, digits"),
        ({"email": {"url": "mail.example.com", **MAIL}}, "email.url", "found no scheme, expected smtp or smtps"),
    ],
)
def test_a_url_that_leads_to_another_kind_of_server_is_refused_without_being_shown(step, path, message):
    found = rejected(step)
    assert message in found[path]
    assert "hunter2" not in found[path]


def test_a_url_that_is_not_known_before_the_run_is_taken():
    plan({"publish": {"kafka": {"url": "${ inputs.order }", "topic": "${ inputs.order } x", "value": 1}}})
    plan({"email": {"url": "${ inputs.order }://mail", **MAIL}})
