import pytest

from leat_runner.kinds.address import Address, BadAddress, Rule, address_of

RULE = Rule("sql.url", {"postgresql": 5432}, "postgresql://HOST/NAME", frozenset({"sslmode"}))


def read(url, username=None, password=None, rule=RULE):
    return address_of(rule, url, username, password)


def test_a_url_is_read_with_its_escapes():
    found = read("postgresql://us%40er:p%2Fw@db.example/shop?sslmode=verify-full")
    assert found == Address("postgresql", "db.example", 5432, "/shop", (("sslmode", "verify-full"),), "us@er", "p/w")


def test_who_connects_and_the_password_may_stand_beside_the_url():
    found = read("postgresql://other:old@db:6432/shop", "app", "p@ss/w:rd")
    assert (found.username, found.password, found.port) == ("app", "p@ss/w:rd", 6432)


def test_as_text_it_tells_no_credentials():
    found = read("postgresql://app:secret@db/shop?sslmode=require")
    assert str(found) == "postgresql://db:5432/shop"
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://db/shop", "sql.url: found scheme 'mysql', expected postgresql; write it as postgresql://HOST/NAME"),
        ("db/shop", "sql.url: found no scheme, expected postgresql"),
        ("postgresql:///shop", "sql.url: it names no host"),
        ("postgresql://db:x/shop", "sql.url: not a URL"),
        ("postgresql://app:a#b@db/shop", "sql.url: holds '#', which is written %23"),
        ("postgresql://db/shop?passfile=/etc/x", "sql.url: the parameter 'passfile' cannot be given; there is sslmode"),
        ("postgresql://db/shop?sslmode", "sql.url: what stands behind '?' cannot be read"),
    ],
)
def test_a_url_of_another_kind_is_refused_without_telling_it(url, message):
    with pytest.raises(BadAddress) as caught:
        read(url)
    assert str(caught.value).startswith(message)


def test_a_wrong_url_with_a_password_is_not_repeated():
    with pytest.raises(BadAddress) as caught:
        read("mysql://app:hunter2@db/shop")
    assert "hunter2" not in str(caught.value)
