"""Every file and every command of the tutorial, in a folder of their own."""

from pathlib import Path

from tests.support.console import tried

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"


def test_the_tutorial_says_what_happens(tmp_path):
    assert tried(PAGE.read_text(), tmp_path) == 8
