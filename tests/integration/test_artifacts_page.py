"""The page about artifacts: its file and its commands, in a folder of their own."""

from pathlib import Path

from tests.support.console import tried

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "artifacts.md"


def test_the_page_says_what_happens(tmp_path):
    assert tried(PAGE.read_text(), tmp_path) == 2
