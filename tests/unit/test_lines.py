"""Lines of programs: nothing is lost, nothing is too long, nothing is text that Postgres refuses."""

from hypothesis import given
from hypothesis import strategies as st

from leat_runner.lines import Lines, harmless, pieces

LIMITS = st.integers(4, 40)


@given(st.text(), LIMITS)
def test_the_pieces_of_a_text_are_the_text_and_none_is_too_long(text, limit):
    text = harmless(text)
    parts = list(pieces(text, limit))
    assert "".join(parts) == text
    assert all(len(part.encode()) <= limit for part in parts)


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=60)), LIMITS, st.data()
)
def test_however_a_stream_is_cut_its_lines_come_out_whole(lines, limit, data):
    stream = "".join(f"{line}\n" for line in lines).encode()
    splitter, found, at = Lines(limit=max(240, limit)), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, 50))
        found += splitter.feed(stream[at : at + size])
        at += size
    assert found + list(splitter.end()) == lines


@given(st.lists(st.binary(max_size=100)), LIMITS)
def test_a_line_without_end_is_given_out_in_pieces_and_never_kept(chunks, limit):
    splitter = Lines(limit)
    found = []
    for chunk in chunks:
        found += splitter.feed(chunk)
        assert len(splitter._rest) <= limit
    found += splitter.end()
    whole = b"".join(chunks)
    if whole.isascii() and b"\n" not in whole:
        assert "".join(found).encode() == whole


@given(st.text())
def test_what_is_kept_is_valid_text_without_nul(text):
    kept = harmless(text)
    assert "\0" not in kept
    assert kept.encode().decode() == kept
