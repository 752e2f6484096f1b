"""The columns of a commit, as Postgres will read them."""

from hypothesis import given
from hypothesis import strategies as st

from leat_engine.store.writes import _quoted


@given(st.text())
def test_a_quoted_element_reads_back_as_it_was(text):
    quoted = _quoted(text)
    assert quoted[0] == quoted[-1] == '"'
    inside = quoted[1:-1]
    # The rules of array literals: a backslash makes the next character itself, a bare quote would end the element.
    read, index = [], 0
    while index < len(inside):
        assert inside[index] != '"'
        index += inside[index] == "\\"
        read.append(inside[index])
        index += 1
    assert "".join(read) == text
