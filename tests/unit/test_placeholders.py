import pytest
from hypothesis import given
from hypothesis import strategies as st

from leat_engine.spec.placeholders import Numbered, numbered


@pytest.mark.parametrize(
    ("query", "text", "names"),
    [
        ("select 1", "select 1", ()),
        ("select :a, :b, :a", "select $1, $2, $1", ("a", "b")),
        ("select :a::text, 'x'::text", "select $1::text, 'x'::text", ("a",)),
        ("select ':a', ':''b:c', \":d\", E'\\':e'", "select ':a', ':''b:c', \":d\", E'\\':e'", ()),
        ("select e':a\\'' || :b", "select e':a\\'' || $1", ("b",)),
        ("select price':a', :b", "select price':a', $1", ("b",)),
        ("-- :a\nselect :b", "-- :a\nselect $1", ("b",)),
        ("/* :a /* :b */ :c */ select :d", "/* :a /* :b */ :c */ select $1", ("d",)),
        ("do $$ x := :a $$", "do $$ x := :a $$", ()),
        ("select $tag$ :a $$ :b $tag$, :c", "select $tag$ :a $$ :b $tag$, $1", ("c",)),
        ("call f(x := :a)", "call f(x := $1)", ("a",)),
        ("select a[1:2], b [ 1 : :n ]", "select a[1:2], b [ 1 : $1 ]", ("n",)),
        ("select col$1, :a", "select col$1, $1", ("a",)),
        ("select ':unclosed", "select ':unclosed", ()),
        ("select /* :unclosed", "select /* :unclosed", ()),
        ("select $x$ :unclosed", "select $x$ :unclosed", ()),
    ],
)
def test_names_become_numbers_where_the_server_would_read_them_as_such(query, text, names):
    assert numbered(query) == Numbered(text, names)


def test_a_number_is_refused_as_its_value_has_no_name():
    with pytest.raises(ValueError, match=r"found '\$1', expected a name such as :order"):
        numbered("select $1")


LITERAL = st.sampled_from(["'a :x'", "''", "$$ :x ' $$", '":x"', "/* :x ' */", "-- :x '\n", "E'\\' :x'", "1", "::text"])
PIECES = st.lists(st.one_of(LITERAL.map(lambda text: (False, text)), st.sampled_from("abc").map(lambda n: (True, n))))


@given(PIECES)
def test_only_parameters_change_whatever_stands_around_them(pieces):
    query = " ".join(f":{text}" if named else text for named, text in pieces)
    order = list(dict.fromkeys(text for named, text in pieces if named))
    expected = " ".join(f"${order.index(text) + 1}" if named else text for named, text in pieces)
    assert numbered(query) == Numbered(expected, tuple(order))


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters=":$")))
def test_a_text_without_colons_stays_as_it_is(query):
    assert numbered(query) == Numbered(query, ())
