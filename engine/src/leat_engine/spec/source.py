"""YAML files as people write them: documents whose fields know their lines.

Scalars are read as `kubectl` reads them, so that a file means the same on a laptop and in a cluster: the booleans of
YAML 1.1, no numbers to base 60, times stay text. Keys are text; one that `kubectl` would turn into a boolean is a
mistake, except for the unquoted ``on`` of a need, which `leat_engine.spec.workflow.Need` understands in either form.
"""

import re
from dataclasses import dataclass
from typing import Any

import yaml

from leat_engine import limits
from leat_engine.errors import Reason, Rejected

_NODES = 500_000
_DEPTH = limits.VALUE_DEPTH + 16
_TAG = "tag:yaml.org,2002:"
_TRUE = frozenset({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE = frozenset({"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_INT = re.compile(r"[-+]?(?:0b[01]+|0o?[0-7]+|0x[0-9a-fA-F]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_ON_OF_NEED = re.compile(r"\.needs\[\d+\]$")
_LAST_PART = re.compile(r"(\.[^.\[\]]*|\[\d+\]|^[^.\[\]]+)$")


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document.

    Attributes:
        data: Its plain data.
        filename: The file, for messages.
        lines: Lines (from 1) by field path.
    """

    data: dict[str, Any]
    filename: str
    lines: dict[str, int]

    def line_of(self, path: str) -> int:
        """The line (from 1) of a field path such as ``spec.steps[2].http.url``, or of the nearest field around it."""
        while path and path not in self.lines:
            shorter = _LAST_PART.sub("", path)
            path = shorter if shorter != path else ""
        return self.lines.get(path, 1)


def load_documents(text: str, filename: str) -> list[Document]:
    """The documents in ``text``; empty ones are left out.

    Raises:
        Rejected: The text is no YAML, a key is there twice, or a document is no object. The reasons' paths are
            ``FILE:LINE``.
    """
    documents: list[Document] = []
    reasons: list[Reason] = []
    try:
        for node in yaml.compose_all(text, Loader=_Loader):
            reader = _Reader(filename, reasons)
            data = reader.read(node, "", 0)
            if isinstance(data, dict):
                documents.append(Document(data, filename, reader.lines))
            elif data is not None:
                reader.complain(node, f"expected an object such as a Workflow, found {type(data).__name__}")
    except yaml.MarkedYAMLError as error:
        reasons.append(_syntax_reason(error, text, filename))
    except yaml.YAMLError as error:
        reasons.append(Reason(filename, str(error).replace("\n", " ")))
    if reasons:
        raise Rejected(reasons)
    return documents


class _Loader(yaml.SafeLoader):
    """Gives nodes; every plain scalar comes as text, and `_Reader` decides what it is."""

    DEFAULT_SCALAR_TAG = "untagged"  # type: ignore[misc]  # PyYAML reads it from the instance
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own name


class _Reader:
    """Turns the nodes of one document into plain data with lines, and collects reasons on the way."""

    def __init__(self, filename: str, reasons: list[Reason]) -> None:
        self.filename = filename
        self.reasons = reasons
        self.lines: dict[str, int] = {}
        self._nodes = 0

    def complain(self, node: yaml.Node, message: str) -> None:
        """Collect a reason that has the node's line."""
        self.reasons.append(Reason(f"{self.filename}:{node.start_mark.line + 1}", message))

    def read(self, node: yaml.Node, path: str, depth: int) -> Any:
        """The plain data of a node; fails on documents that aliases blow up or that contain themselves."""
        self._nodes += 1
        if depth > _DEPTH or self._nodes > _NODES:
            what = f"is nested deeper than {_DEPTH} levels" if depth > _DEPTH else f"has more than {_NODES} values"
            raise yaml.MarkedYAMLError(problem=f"the document {what}", problem_mark=node.start_mark)
        self.lines.setdefault(path, node.start_mark.line + 1)
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path, depth)
            case yaml.SequenceNode():
                return [self.read(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(node.value)]
            case _:
                return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.complain(key_node, "expected a text as key; YAML needs quotes around ${ ... } in { } and [ ]")
                continue
            key = key_node.value
            below = f"{path}.{key}" if path else key
            if key == "<<" and _plain(key_node):
                merged |= self._merge(value_node, path, depth)
                continue
            if key in data:
                self.complain(key_node, f"the key {key!r} is there twice (first in line {self.lines[below]})")
            self._check_key(key_node, path)
            self.lines[below] = key_node.start_mark.line + 1
            data[key] = self.read(value_node, below, depth + 1)
        return merged | data

    def _check_key(self, node: yaml.ScalarNode, path: str) -> None:
        key = node.value
        meaning = "true" if key in _TRUE else "false" if key in _FALSE else "null" if key in _NULL else None
        if (
            meaning is None
            or not _plain(node)
            or key in {"true", "false"}
            or (key == "on" and _ON_OF_NEED.search(path))
        ):
            return
        self.complain(node, f"kubectl reads the key {key or 'nothing'!r} as {meaning}; write it in quotes")

    def _merge(self, node: yaml.Node, path: str, depth: int) -> dict[str, Any]:
        """What ``<<`` brings in: an object, or several of which the first wins."""
        found = self.read(node, path, depth + 1)
        merged: dict[str, Any] = {}
        for one in reversed(found if isinstance(found, list) else [found]):
            if not isinstance(one, dict):
                self.complain(node, "expected an object behind <<")
                return {}
            merged |= one
        return merged

    def _scalar(self, node: yaml.Node) -> Any:
        text: str = node.value
        tag = str(node.tag).removeprefix(_TAG)
        if _plain(node):
            return plain_value(text)
        if tag in {"str", _Loader.DEFAULT_SCALAR_TAG}:
            return self._text(node, text)
        value = plain_value(text)
        if tag == "float" and type(value) in {int, float}:
            return float(text)
        if type(value) is _TYPES.get(tag):
            return value
        self.complain(node, f"found the tag {node.tag!r} on {text[:40]!r}; expected a plain value")
        return None

    def _text(self, node: yaml.Node, text: str) -> str:
        r"""The text, with what JSON writes as two escapes (``\ud83d\ude00``) made one character."""
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16") if not text.isascii() else text
        except UnicodeDecodeError:
            self.complain(node, "holds half of a surrogate pair, which is no character")
            return ""


_TYPES = {"bool": bool, "int": int, "null": type(None)}


def plain_value(text: str) -> Any:
    """What an unquoted scalar means to `kubectl`."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text in _NULL:
        return None
    number = text.replace("_", "") if text[0] in "+-.0123456789" else ""
    if _INT.fullmatch(number):
        return int(number, 0) if not re.match(r"[-+]?0[0-7]", number) else int(number, 8)
    return float(number) if _FLOAT.fullmatch(number) else text


def _plain(node: yaml.Node) -> bool:
    """Whether the scalar is neither quoted nor tagged."""
    return getattr(node, "style", None) is None and node.tag == _Loader.DEFAULT_SCALAR_TAG


def _syntax_reason(error: yaml.MarkedYAMLError, text: str, filename: str) -> Reason:
    """What YAML could not read, its line, and the usual cause when an expression is near."""
    marks = [mark for mark in (error.problem_mark, error.context_mark) if mark is not None]
    lines = text.splitlines()
    message = ", ".join(part for part in (error.context, error.problem) if part)
    near = [lines[mark.line] for mark in marks if mark.line < len(lines)]
    if any("${" in line for line in near):
        message += "; YAML needs quotes around an expression that holds `: ` or ` #` or stands in { } or [ ]"
    if near:
        message += f"\n  {near[0].strip()[:120]}"
    return Reason(f"{filename}:{marks[0].line + 1}" if marks else filename, message)
