import pytest
from hypothesis import given
from hypothesis import strategies as st

from leat_engine.spec.placeholders import Numbered
from leat_engine.spec.placeholders_mysql import marked


@pytest.mark.parametrize(
    ("query", "text", "names"),
    [
        ("select 1", "select 1", ()),
        ("select :a, :b, :a", "select ?, ?, ?", ("a", "b", "a")),
        ("select ':a', ':''b:c', \":d\", `:e`", "select ':a', ':''b:c', \":d\", `:e`", ()),
        ("select 'it\\'s :a', :b", "select 'it\\'s :a', ?", ("b",)),
        ('select "say \\":a\\"", :b', 'select "say \\":a\\"", ?', ("b",)),
        ("select 'a\\\\', :b, '\\''", "select 'a\\\\', ?, '\\''", ("b",)),
        ("select `a\\`, :b", "select `a\\`, ?", ("b",)),
        ("select `a``:b`, :c", "select `a``:b`, ?", ("c",)),
        ("# :a\nselect :b", "# :a\nselect ?", ("b",)),
        ("-- :a\nselect :b", "-- :a\nselect ?", ("b",)),
        ("select 5--:a", "select 5--?", ("a",)),
        ("select 1 --", "select 1 --", ()),
        ("/* :a /* :b */ select :c", "/* :a /* :b */ select ?", ("c",)),
        ("select @x := :a", "select @x := ?", ("a",)),
        ("select $1, a$b:c", "select $1, a$b?", ("c",)),
        ("select ':unclosed", "select ':unclosed", ()),
        ("select /* :unclosed", "select /* :unclosed", ()),
        ("select `:unclosed", "select `:unclosed", ()),
    ],
)
def test_names_become_marks_where_the_server_would_read_them_as_such(query, text, names):
    assert marked(query) == Numbered(text, names)


def test_a_mark_is_refused_as_its_value_has_no_name():
    with pytest.raises(ValueError, match=r"found '\?', expected a name such as :order"):
        marked("select ?")


INSIDE = st.text(alphabet=":?xyz '\"`\\#-/*\n", max_size=12)
STRING = st.one_of(
    INSIDE.map(lambda text: "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"),
    INSIDE.map(lambda text: "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"),
    INSIDE.map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'),
)
NAME = INSIDE.map(lambda text: "`" + text.replace("`", "``") + "`")
COMMENT = st.one_of(
    INSIDE.map(lambda text: "/*" + text.replace("*", "") + "*/"),
    INSIDE.map(lambda text: "# " + text.replace("\n", "") + "\n"),
    INSIDE.map(lambda text: "-- " + text.replace("\n", "") + "\n"),
)
LITERAL = st.one_of(STRING, NAME, COMMENT, st.sampled_from(["1", "select", "@x", "$1", ":=", "- -", "/"]))
PIECES = st.lists(st.one_of(LITERAL.map(lambda text: (False, text)), st.sampled_from("abc").map(lambda n: (True, n))))


@given(PIECES)
def test_only_parameters_change_whatever_stands_in_strings_names_and_comments(pieces):
    query = " ".join(f":{text}" if named else text for named, text in pieces)
    expected = " ".join("?" if named else text for named, text in pieces)
    assert marked(query) == Numbered(expected, tuple(text for named, text in pieces if named))


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters=":?")))
def test_a_text_without_colons_and_marks_stays_as_it_is(query):
    assert marked(query) == Numbered(query, ())
