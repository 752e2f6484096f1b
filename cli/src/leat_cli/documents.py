"""Files as a command line names them, to Leat's documents in them; and reasons to problems with their lines."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from leat_cli.problems import Invalid, Problem
from leat_engine.errors import Reason, Rejected
from leat_engine.spec.source import Document, load_documents

STDIN = "-"
KINDS = ("Workflow", "WorkflowRun")


def read_documents(file: str) -> list[Document]:
    """Return the documents of a file, or of stdin for ``-``.

    Raises:
        Invalid: The file cannot be read, or is not YAML.
    """
    name = "stdin" if file == STDIN else file
    try:
        return load_documents(_read(file), name)
    except Rejected as error:
        raise Invalid(_of_syntax(reason, name) for reason in error.reasons) from error


def _read(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
        return data.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise Invalid.because(f"there is no such file: check the path, seen from {Path.cwd()}", file=file) from error
    except OSError as error:
        raise Invalid.because(f"cannot be read: {error.strerror}", file=file) from error
    except UnicodeDecodeError as error:
        raise Invalid.because(f"is not UTF-8 text: {error.reason} at byte {error.start}", file=file) from error


def _of_syntax(reason: Reason, file: str) -> Problem:
    """Return the problem for a reason of the reader, whose path is ``FILE:LINE``."""
    line = reason.path.removeprefix(f"{file}:")
    return Problem(file, int(line) if line.isdecimal() else 0, "", reason.message)


def is_leat(document: Document) -> bool:
    """Whether the document is for Leat; a file may hold a ConfigMap, or somebody else's Workflow, too."""
    return str(document.data.get("apiVersion", "")).startswith("leat.dev/")


def kind_of(document: Document) -> str:
    """Return the kind that the document says it is."""
    return str(document.data.get("kind", ""))


def name_of(document: Document) -> str:
    """Return `metadata.name`, or "" without one."""
    metadata = document.data.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""


def problems_of(document: Document, reasons: Iterable[Reason]) -> list[Problem]:
    """Return reasons about a document as problems, in the order of its lines."""
    found = [Problem(document.filename, document.line_of(r.path), r.path, r.message) for r in reasons]
    return sorted(found, key=lambda problem: (problem.line, problem.path))


@contextmanager
def located(document: Document) -> Iterator[None]:
    """Turn what is rejected within the block into problems of this document.

    Raises:
        Invalid: Instead of Rejected.
    """
    try:
        yield
    except Rejected as error:
        raise Invalid(problems_of(document, error.reasons)) from error
