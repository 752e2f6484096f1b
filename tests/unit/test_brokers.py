"""The URL of a Kafka cluster: what it says, and what is answered to one that says nothing."""

import re
from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leat_engine.spec.brokers import CAFILE, MECHANISM, MECHANISMS, Brokers, brokers_of, check_topic


def test_a_url_may_name_several_brokers_and_who_logs_in():
    found = brokers_of("kafkas://me:word@one.shop:9093,two.shop,[::1]:9094?mechanism=PLAIN")
    assert found == Brokers(("one.shop:9093", "two.shop:9092", "[::1]:9094"), True, "PLAIN", "me", "word")
    assert str(found) == "kafkas://one.shop:9093,two.shop:9092,[::1]:9094"
    assert "word" not in repr(found)


def test_nobody_logs_in_unless_somebody_is_named():
    assert brokers_of("kafka://one") == Brokers(("one:9092",), False)
    assert brokers_of("kafka://one", "me", "word").mechanism == "SCRAM-SHA-512"


def test_what_stands_beside_the_url_wins():
    found = brokers_of("kafka://you:other@one", "me", "w@rd/?")
    assert (found.username, found.password) == ("me", "w@rd/?")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://one", "expected a URL such as kafkas://HOST:9092"),
        ("kafka://", "expected a URL such as"),
        ("one:9092", "expected a URL such as"),
        ("kafka://one,,two", "names a host that is none"),
        ("kafka://one:99999", "names a host that is none"),
        ("kafka://me:s3cr?et=1@one:9092", "holds '?' before '@'"),
        ("kafka://me@one", "expected a user and a password, or neither"),
        ("kafka://me:s3cret#@one", "holds '#'"),
        ("kafka://me:s3cret@one?mechanism=GSSAPI", "to be one of SCRAM-SHA-512"),
        ("kafkas://one?cafile=/etc/passwd", "the parameter 'cafile' cannot be given; there is mechanism"),
        ("kafkas://one?x", "what stands behind '?' cannot be read"),
    ],
)
def test_what_leads_nowhere_is_refused_without_its_value(url, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        brokers_of(url)
    assert "s3cr" not in str(caught.value)


hosts = st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True)
words = st.text(min_size=1, max_size=20)


@given(
    st.lists(st.tuples(hosts, st.integers(1, 65535)), min_size=1, max_size=4),
    st.booleans(),
    st.none() | st.tuples(words, words),
    st.sampled_from(MECHANISMS),
)
def test_whatever_is_written_is_read_as_it_was_meant(servers, tls, login, mechanism):
    place = ",".join(f"{host}:{port}" for host, port in servers)
    who = "" if login is None else f"{quote(login[0], safe='')}:{quote(login[1], safe='')}@"
    found = brokers_of(f"kafka{'s' if tls else ''}://{who}{place}?mechanism={mechanism}")
    assert found.servers == tuple(f"{host}:{port}" for host, port in servers)
    assert (found.tls, found.username, found.password) == (tls, *(login or (None, None)))
    assert found.mechanism == (mechanism if login else None)


@given(st.text(max_size=60), st.sets(st.sampled_from([MECHANISM, CAFILE])))
def test_what_is_no_url_is_answered_and_nothing_else_happens(text, parameters):
    with suppress(ValueError):
        assert brokers_of(text, parameters=parameters).servers


@pytest.mark.parametrize("topic", ["orders", "a.b_c-d", "x" * 249])
def test_a_topic_has_a_name_that_kafka_takes(topic):
    assert check_topic(topic) == topic


@pytest.mark.parametrize("topic", ["", ".", "..", "a b", "ü", "x" * 250])
def test_another_name_is_refused(topic):
    with pytest.raises(ValueError, match="letters, digits"):
        check_topic(topic)
