"""Runs over time as SVG: a row for each step, light where it waited, red on the critical path."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from xml.etree import ElementTree as ET

_WIDTH, _ROW, _MARGIN, _TOP = 720.0, 20.0, 24.0, 64.0
_CHAR = 6.7
"""Width of a character of a fixed pitch at 11 pixels."""

_ROWS, _STROKES = 80, 4000
"""Rows that are drawn, and bars on them."""

_LONGEST = 40
_STEPS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400)
_STYLE = files(__package__).joinpath("gantt.css").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Stroke:
    """A step, one time, in seconds: it could begin at ``ready``, began at ``begun``, and was over at ``end``."""

    row: str
    ready: float
    begun: float
    end: float
    critical: bool


def gantt(title: str, strokes: Sequence[Stroke]) -> str:
    """Return the drawing; rows stand in the order in which they begin. What is too much is said below."""
    rows = list(dict.fromkeys(stroke.row for stroke in sorted(strokes, key=lambda stroke: stroke.ready)))
    shown = {row: place for place, row in enumerate(rows[:_ROWS])}
    left = _MARGIN + max((min(len(row), _LONGEST) for row in shown), default=0) * _CHAR + 12
    last = max((stroke.end for stroke in strokes), default=0.0) or 1.0
    height = _TOP + _ROW * (len(shown) + 1) + _MARGIN
    size = {"width": f"{left + _WIDTH + _MARGIN:.0f}", "height": f"{height:.0f}"}
    root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size, "class": "leat", "role": "img"})
    ET.SubElement(root, "title").text = title
    ET.SubElement(root, "style").text = _STYLE
    ET.SubElement(root, "rect", {"class": "page", **size, "rx": "12"})
    _text(root, (_MARGIN, _MARGIN + 14), title, "title")
    for seconds in _ticks(last):
        x = left + seconds / last * _WIDTH
        ends = {"x1": f"{x:.1f}", "x2": f"{x:.1f}", "y1": f"{_TOP - 6:.0f}", "y2": f"{_TOP + _ROW * len(shown):.0f}"}
        ET.SubElement(root, "line", {"class": "grid", **ends})
        _text(root, (x + 2, _TOP - 8), _time(seconds), "tick")
    for row, number in shown.items():
        _text(
            root,
            (_MARGIN, _TOP + _ROW * number + 14),
            row if len(row) <= _LONGEST else f"{row[: _LONGEST - 1]}…",
            "name",
        )
    drawn = [stroke for stroke in strokes if stroke.row in shown]
    for stroke in sorted(drawn[:_STROKES], key=lambda stroke: stroke.critical):
        y = _TOP + _ROW * shown[stroke.row] + 3
        for begin, end, style in _parts(stroke):
            place = {
                "x": f"{left + begin / last * _WIDTH:.1f}",
                "width": f"{max((end - begin) / last * _WIDTH, 0.8):.1f}",
            }
            ET.SubElement(
                root, "rect", {"class": style, **place, "y": f"{y:.0f}", "height": f"{_ROW - 6:.0f}", "rx": "2"}
            )
    if note := ", ".join(_left_out(len(rows) - len(shown), len(drawn) - _STROKES)):
        _text(root, (_MARGIN, height - 12), note, "tick")
    ET.indent(root, " ")
    return ET.tostring(root, "unicode") + "\n"


def _parts(stroke: Stroke) -> Iterator[tuple[float, float, str]]:
    if stroke.begun > stroke.ready:
        yield stroke.ready, stroke.begun, "waits"
    yield stroke.begun, stroke.end, "critical" if stroke.critical else "bar"


def _left_out(rows: int, strokes: int) -> Iterator[str]:
    if rows > 0:
        yield f"{rows} more steps"
    if strokes > 0:
        yield f"{strokes} more bars"


def _ticks(last: float) -> Iterable[float]:
    step = next((each for each in _STEPS if last / each <= 8), 86400 * max(1, round(last / 86400 / 8)))
    return [number * step for number in range(int(last / step) + 1)]


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms" if seconds else "0"
    parts = ((seconds // 86400, "d"), (seconds % 86400 // 3600, "h"), (seconds % 3600 // 60, "m"), (seconds % 60, "s"))
    return "".join(f"{number:g}{unit}" for number, unit in parts if number)


def _text(parent: ET.Element, at: tuple[float, float], text: str, style: str) -> None:
    ET.SubElement(parent, "text", {"class": style, "x": f"{at[0]:.1f}", "y": f"{at[1]:.1f}"}).text = text
