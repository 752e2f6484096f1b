"""A picture as SVG, with nothing to fetch and nothing to run in it; light or dark as its reader's screen is."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from xml.etree import ElementTree as ET

from leat_cli.drawing.layers import Layout, Point, Size, layered
from leat_cli.drawing.picture import Body, Link, Node, Picture

_ACROSS, _DOWN, _MARGIN, _PADDING = 32.0, 52.0, 24.0, 18.0
_NAME_LINE, _SMALL_LINE = 20.0, 16.0
_NAME_CHAR, _SMALL_CHAR = 7.9, 6.7
"""Widths of the characters of a fixed pitch at 13 and 11 pixels."""

_NARROWEST = 112.0
_LONGEST = 44
"""Characters of a name or a condition; the rest of it stands in the tooltip."""

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FAMILIES = {
    "pure": ("transform", "fail"),
    "wait": ("wait", "signal", "approval"),
    "work": ("script", "function", "container", "sql"),
    "send": ("http", "publish", "workflow"),
}
_FAMILY = {kind: family for family, kinds in _FAMILIES.items() for kind in kinds}
_STYLE = files(__package__).joinpath("svg.css").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class _Lane:
    """A body with the place of everything in it."""

    label: str
    boxes: "tuple[_Box, ...]"
    links: tuple[Link, ...]
    layout: Layout

    @property
    def head(self) -> float:
        return _SMALL_LINE if self.label else 0.0

    @property
    def width(self) -> float:
        return max(self.layout.size.width, len(_short(self.label)) * _SMALL_CHAR)


@dataclass(frozen=True, slots=True)
class _Box:
    """A step with its size, and its bodies side by side."""

    node: Node
    size: Size
    lanes: tuple[_Lane, ...]


def svg(picture: Picture) -> str:
    """Return the drawing."""
    lane = _lane(Body("", picture.nodes), picture.links)
    head = _NAME_LINE + 12.0
    width = max(lane.layout.size.width, len(picture.title) * 9.1) + 2 * _MARGIN
    height = lane.layout.size.height + head + 2 * _MARGIN
    size = {"width": _number(width), "height": _number(height), "viewBox": f"0 0 {_number(width)} {_number(height)}"}
    root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size, "class": "leat", "role": "img"})
    ET.SubElement(root, "title").text = _clean(picture.title)
    ET.SubElement(root, "style").text = _STYLE
    _rectangle(root, (0.0, 0.0), Size(width, height), "page", 12)
    _text(root, (_MARGIN, _MARGIN + 14), picture.title, "title")
    _paint_lane(root, lane, ((width - lane.layout.size.width) / 2, _MARGIN + head))
    ET.indent(root, " ")
    return ET.tostring(root, "unicode") + "\n"


def _lane(body: Body, links: Sequence[Link]) -> _Lane:
    ids = {node.id for node in body.nodes}
    own = tuple(link for link in links if link.source in ids and link.target in ids)
    boxes = tuple(_box(node, links) for node in body.nodes)
    sizes = {box.node.id: box.size for box in boxes}
    return _Lane(body.label, boxes, own, layered(sizes, [(link.source, link.target) for link in own], _ACROSS, _DOWN))


def _box(node: Node, links: Sequence[Link]) -> _Box:
    lanes = tuple(_lane(body, links) for body in node.bodies)
    width = max(len(_short(node.name)) * _NAME_CHAR, *(len(line) * _SMALL_CHAR for line in _small_lines(node))) + 28.0
    height = 12.0 + _NAME_LINE + _SMALL_LINE * len(_small_lines(node))
    if lanes:
        inside = sum(lane.width + _PADDING for lane in lanes) + _PADDING
        width = max(width, inside + _PADDING * (len(lanes) - 1))
        height += max(lane.layout.size.height + lane.head for lane in lanes) + 2 * _PADDING
    return _Box(node, Size(max(width, _NARROWEST), height), lanes)


def _small_lines(node: Node) -> list[str]:
    return [node.kind, *map(_short, node.remarks)]


def _paint_lane(parent: ET.Element, lane: _Lane, at: Point) -> None:
    """Draw the lines first, so that boxes and words stand before them."""
    x, y = at
    lines = [[(x + px, y + py) for px, py in points] for points in lane.layout.lines]
    for link, points in zip(lane.links, lines, strict=True):
        _paint_line(parent, link, points)
    for link, place in _label_places(lane.links, lines):
        _text(parent, place, link.on, "handles on" if link.handles else "on", anchor="middle")
    for box in lane.boxes:
        left, top = lane.layout.places[box.node.id]
        _paint_box(parent, box, (x + left, y + top))


def _paint_line(parent: ET.Element, link: Link, points: Sequence[Point]) -> None:
    handles = "handles " if link.handles else ""
    passed = [point for n, point in enumerate(points) if not n or point != points[n - 1]]
    x, y = passed[-1]
    tip = {"class": f"{handles}tip", "d": f"M{_number(x)} {_number(y)}l-4 -8h8z"}
    passed[-1] = (x, y - 6.0)  # the tip covers the rest
    path = "".join(_curve(one, other) for one, other in pairwise(passed))
    begin = f"M{_number(passed[0][0])} {_number(passed[0][1])}"
    ET.SubElement(parent, "path", {"class": f"{handles}line", "d": begin + path})
    ET.SubElement(parent, "path", tip)


def _curve(begin: Point, end: Point) -> str:
    """Return the part of a path from one point to another that is upright at both."""
    if begin[0] == end[0]:
        return f"V{_number(end[1])}"
    middle = _number((begin[1] + end[1]) / 2)
    return f"C{_number(begin[0])} {middle} {_number(end[0])} {middle} {_number(end[0])} {_number(end[1])}"


def _label_places(links: Sequence[Link], lines: Sequence[Sequence[Point]]) -> Iterator[tuple[Link, Point]]:
    """Yield where it is written which ends a line takes: on its curves, and not where another one has its words.

    Short lines choose first: they have fewer places.
    """
    taken: list[tuple[Point, float]] = []
    for link, points in sorted(zip(links, lines, strict=True), key=lambda pair: len(pair[1])):
        if not link.on:
            continue
        width = len(link.on) * _SMALL_CHAR
        places = list(_along(points))
        free = (each for each in places if not any(_meet(each, width, *other) for other in taken))
        place = next(free, places[0])
        taken.append((place, width))
        yield link, place


def _along(points: Sequence[Point]) -> Iterator[Point]:
    """Yield points of a line's curves, the best for words first: near the end, where lines of one step have parted."""
    curves = [*zip(points[1:-1:2], points[2:-1:2], strict=True)]
    for (x, y), (to_x, to_y) in (curves[-1], *curves[:-1]):
        for part in (2 / 3, 1 / 3, 1 / 2):
            across, down = part * part * (3 - 2 * part), 1.5 * part * (1 - part) + part**3
            yield x + across * (to_x - x), y + down * (to_y - y)


def _meet(one: Point, width: float, other: Point, other_width: float) -> bool:
    near = abs(one[0] - other[0]) < (width + other_width) / 2 + 4
    return near and abs(one[1] - other[1]) < _SMALL_LINE


def _paint_box(parent: ET.Element, box: _Box, at: Point) -> None:
    x, y = at
    node = box.node
    group = ET.SubElement(parent, "g")
    told = [f"{node.name} ({node.kind})", *node.remarks]
    ET.SubElement(group, "title").text = _clean("\n".join(told))
    _rectangle(group, at, box.size, "body" if box.lanes else "card", 8)
    bar = Size(4.0, 20.0 + _SMALL_LINE * len(_small_lines(node)))
    _rectangle(group, (x + 7, y + 6), bar, _FAMILY.get(node.kind.split(" ")[-1], "other"), 2)
    _text(group, (x + 18, y + 21), _short(node.name), "name")
    for n, line in enumerate(_small_lines(node)):
        _text(group, (x + 18, y + 21 + _SMALL_LINE * (n + 1)), line, "when" if n else "kind")
    left = x + _PADDING
    top = y + 12.0 + _NAME_LINE + _SMALL_LINE * len(_small_lines(node)) + _PADDING / 2
    for lane in box.lanes:
        if lane.label:
            _text(group, (left, top + 8), _short(lane.label), "kind")
        _paint_lane(group, lane, (left, top + lane.head))
        left += lane.width + 2 * _PADDING


def _rectangle(parent: ET.Element, at: Point, size: Size, style: str, radius: int) -> None:
    place = {"x": _number(at[0]), "y": _number(at[1]), "width": _number(size.width), "height": _number(size.height)}
    ET.SubElement(parent, "rect", {"class": style, **place, "rx": str(radius)})


def _text(parent: ET.Element, at: Point, text: str, style: str, anchor: str = "") -> None:
    place = {"x": _number(at[0]), "y": _number(at[1])}
    found = ET.SubElement(parent, "text", {"class": style, **place, **({"text-anchor": anchor} if anchor else {})})
    found.text = _clean(text)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _clean(text: str) -> str:
    """Return a text with nothing in it that XML has no place for."""
    return _NO_XML.sub("\ufffd", text)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
