import html
import json
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from yarl import URL

from leat_engine.redaction import MASK, SHORTEST, Redactor

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
# Nothing blank at its ends, which is left out of what is looked for; no lines.
SECRETS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="*"), min_size=4, max_size=60)
LETTERS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=16, max_size=40)


@given(TEXTS, SECRETS, TEXTS)
def test_a_secret_is_found_in_every_form_that_programs_give_it(before, secret, behind):
    redactor = Redactor([secret])
    assert secret not in redactor.text(before + secret + behind)
    for write in (quote, quote_plus, json.dumps, html.escape, lambda text: quote(text, safe="")):
        assert write(secret).strip('"') not in redactor.text(f"{before} {write(secret)} {behind}")
    assert secret not in json.loads(json.dumps(redactor.value({"a": [secret, {secret: before + secret}]})))
    assert redactor.text(f"[{secret!r}]").count(MASK) == 1
    assert redactor.text(urlencode({"q": secret})) == f"q={MASK}"


@given(st.binary(max_size=5), st.text("abcdefgh0123456789", min_size=8, max_size=50), st.binary(max_size=5))
def test_a_secret_inside_of_something_in_base64_is_found(before, secret, behind):
    redactor = Redactor([secret])
    for encode in (b64encode, urlsafe_b64encode):
        whole = encode(before + secret.encode() + behind).decode()
        shown = redactor.text(whole)
        assert MASK in shown
        assert len(shown.replace(MASK, "")) <= len(whole) - (len(secret) - 3) * 8 // 6


def test_base64_in_lines_is_found():
    secret = "".join(chr(65 + number % 26) for number in range(200))
    encoded = b64encode(secret.encode() + b"\n").decode()
    lines = [encoded[start : start + 76] for start in range(0, len(encoded), 76)]
    shown = Redactor([secret]).text("\n".join(lines))
    assert not any(line[:60] in shown for line in lines)


@pytest.mark.parametrize("secret", ["a+b/c d&e=f?g", "p@ss:w;ö%rd"])
def test_a_secret_in_a_query_is_found_as_the_http_client_writes_it(secret):
    shown = Redactor([secret]).text(str(URL("https://shop.example/a").extend_query([("key", secret), ("n", "1")])))
    assert shown == f"https://shop.example/a?key={MASK}&n=1"


@given(LETTERS, st.integers(SHORTEST, 15))
def test_where_a_text_was_cut_no_piece_of_a_secret_is_left(secret, kept):
    redactor = Redactor([secret])
    long = "~" * 40
    assert redactor.text(long + secret[:kept]) == long + MASK
    assert redactor.text(long + secret[:kept] + "...") == long + MASK + "..."
    assert redactor.text(secret[-kept:] + long) == MASK + long
    assert secret[:12] not in redactor.text(f"{long} input_value='{secret[:13]}...{secret[-13:]}', input_type=str")


@given(LETTERS, TEXTS)
def test_what_holds_no_secret_stays_as_it_is(secret, text):
    assume(secret not in text)
    value = {"a": [text, 1, 1.5, None, True, {"b": text}]}
    assert Redactor([secret]).value(value) == value
    assert Redactor(()).details(value) == value


def test_the_lines_of_a_secret_are_found_one_by_one():
    redactor = Redactor(["-----BEGIN KEY-----\n  MIIEvQIBADANBg\nab\n-----END KEY-----\n"])
    assert redactor.text("script: MIIEvQIBADANBg") == f"script: {MASK}"
    assert redactor.text("ab") == "ab"


def test_a_secret_that_became_a_number_is_found():
    shown = Redactor(["271828", "3.1415"]).value([271828, 3.1415, 271828.0, 27, True, {"271828": "x"}])
    assert shown == [MASK, MASK, MASK, 27, True, {MASK: "x"}]


def test_a_value_of_less_than_four_characters_is_left_alone():
    assert Redactor(["abc", "7", "0e10"]).value(["abc", 7, 0]) == ["abc", 7, 0]


def test_a_secret_of_many_lines_is_found_as_one_of_few():
    lines = [f"{number:03}-{'abcdefghij'[number % 10]}{number * 7919 % 9973}-key" for number in range(300)]
    redactor = Redactor(["\n".join(lines)])
    text = "\n".join(f"{number}: {line}" for number, line in enumerate(lines))
    assert redactor.text(text) == "\n".join(f"{number}: {MASK}" for number in range(300))
    assert redactor.text("~" * 40 + lines[7][:9]) == "~" * 40 + MASK
