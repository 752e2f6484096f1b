"""The page of mistakes tells what Leat says: each entry is asked for, word by word."""

import re
from pathlib import Path

import pytest
from tests.support.mistakes import entries, said

PAGE = (Path(__file__).parents[2] / "docs/reference/mistakes.md").read_text()
FILES = {entry.more: entry.written for entry in entries(PAGE) if entry.place == "file:"}
MISTAKES = [entry for entry in entries(PAGE) if entry.place != "file:"]
FEWEST = 6
"""Entries that a section has."""


@pytest.mark.parametrize("entry", MISTAKES, ids=lambda entry: f"line {entry.line}")
def test_a_mistake_is_answered_as_the_page_says(entry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    assert entry.told
    assert said(entry, tmp_path) == entry.told


def test_nothing_on_the_page_is_left_out():
    assert len(re.findall("^```yaml$", PAGE, re.MULTILINE)) == sum(entry.place != "command" for entry in entries(PAGE))
    assert len(re.findall("^```text$", PAGE, re.MULTILINE)) == sum(entry.place != "command" for entry in MISTAKES)
    assert len(re.findall("^```console$", PAGE, re.MULTILINE)) == sum(entry.place == "command" for entry in MISTAKES)


@pytest.mark.parametrize("section", PAGE.split("\n## ")[1:], ids=lambda section: section.partition("\n")[0])
def test_every_section_has_the_mistakes_that_people_make(section):
    assert len(list(entries(section))) >= FEWEST
