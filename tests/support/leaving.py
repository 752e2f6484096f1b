"""Functions that leave and take files."""

import tempfile
from pathlib import Path
from typing import Any

import leat
from leat_engine.kind import StepContext


@leat.step
def leaves(text: str, context: StepContext) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "note.txt"
        file.write_text(text)
        context.keep("note", file)
    context.keep("raw", text.encode())


@leat.step
def reads(note: Path, raw: dict[str, Any]) -> list[str]:
    return [note.read_text(), raw["$artifact"]["contentType"]]


@leat.step
def quiet() -> None:
    """Leaves nothing."""


@leat.step
def much(count: int) -> list[int]:
    return list(range(count))
