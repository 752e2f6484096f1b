"""The page about tests: its files, its commands, and what they say."""

from pathlib import Path

from tests.support.console import tried

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "testing.md"


def test_the_page_does_what_it_says(tmp_path):
    assert tried(PAGE.read_text(), tmp_path) == 6
