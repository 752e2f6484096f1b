"""Where boxes stand and lines run: in layers, each box below all that lead to it.

The four steps of Sugiyama, Tagawa and Toda ("Methods for Visual Understanding of Hierarchical System Structures",
1981): layers by the longest way, points on lines that pass a layer, an order with few crossings by barycentres, places.
The places of one layer are those nearest to the wanted ones that keep the order and the gaps: isotonic regression, by
pooling neighbours.
"""

from bisect import bisect, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from itertools import pairwise

_SWEEPS = 12
_BENDS = 20_000
"""Points on lines altogether. Beyond that lines go straight, whatever they pass."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height."""

    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes by their top left corners, and for each line the points it passes, from box to box.

    The points come in pairs: a line is upright from the first to the second of a pair, within a layer, and crosses the
    gap between two layers from one pair to the next.
    """

    size: Size
    places: Mapping[int, Point]
    lines: tuple[tuple[Point, ...], ...]


@dataclass(slots=True)
class _Grid:
    """Vertices, numbered from 0: the boxes first, then points on lines."""

    widths: list[float] = field(default_factory=list)
    rows: list[list[int]] = field(default_factory=list)
    above: list[list[int]] = field(default_factory=list)
    below: list[list[int]] = field(default_factory=list)

    def add(self, row: int, width: float) -> int:
        self.rows.extend([] for _ in range(row + 1 - len(self.rows)))
        self.rows[row].append(len(self.widths))
        self.widths.append(width)
        self.above.append([])
        self.below.append([])
        return len(self.widths) - 1

    def join(self, upper: int, lower: int) -> None:
        self.below[upper].append(lower)
        self.above[lower].append(upper)


def layered(sizes: Mapping[int, Size], links: Sequence[tuple[int, int]], across: float, down: float) -> Layout:
    """Place boxes.

    Args:
        sizes: Of the boxes, in the order in which they stand when nothing else decides.
        links: From box to box, without cycles.
        across: The gap between boxes of a layer.
        down: The gap between layers.
    """
    rows = _rows(sizes, links)
    grid = _Grid()
    vertices = {box: grid.add(rows[box], size.width) for box, size in sizes.items()}
    bent = sum(rows[target] - rows[source] - 1 for source, target in links) <= _BENDS
    chains = [_chain(grid, vertices, rows, link, bent=bent) for link in links]
    _order(grid)
    xs = _places(grid, across)
    heights = [0.0] * len(grid.rows)
    for box, size in sizes.items():
        heights[rows[box]] = max(heights[rows[box]], size.height)
    tops = [sum(heights[:row]) + down * row for row in range(len(heights))]
    places = {
        box: (xs[vertices[box]] - size.width / 2, tops[rows[box]] + (heights[rows[box]] - size.height) / 2)
        for box, size in sizes.items()
    }
    lines = []
    for (source, target), chain in zip(links, chains, strict=True):
        passed = range(rows[source] + 1, rows[source] + len(chain) - 1)
        ys = [places[source][1] + sizes[source].height, tops[rows[source]] + heights[rows[source]]]
        ys += [y for row in passed for y in (tops[row], tops[row] + heights[row])]
        ys += [tops[rows[target]], places[target][1]]
        lines.append(tuple((xs[chain[n // 2]], y) for n, y in enumerate(ys)))
    width = max((x + width / 2 for x, width in zip(xs, grid.widths, strict=True)), default=0.0)
    return Layout(Size(width, sum(heights) + down * max(len(heights) - 1, 0)), places, tuple(lines))


def _rows(sizes: Iterable[int], links: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Return the layer of each box, from 0: as high as it can be; a beginning as low as what it leads to lets it."""
    above: dict[int, list[int]] = {box: [] for box in sizes}
    below: dict[int, list[int]] = {box: [] for box in sizes}
    for source, target in links:
        above[target].append(source)
        below[source].append(target)
    rows: dict[int, int] = {}
    for box in TopologicalSorter(above).static_order():
        rows[box] = 1 + max((rows[each] for each in above[box]), default=-1)
    for box, leads in below.items():
        if leads and not above[box]:
            rows[box] = min(rows[each] for each in leads) - 1
    return rows


def _chain(
    grid: _Grid, vertices: Mapping[int, int], rows: Mapping[int, int], link: tuple[int, int], *, bent: bool
) -> list[int]:
    """Return the vertices of a line, with a new one in every layer that it passes."""
    source, target = link
    passed = range(rows[source] + 1, rows[target]) if bent else ()
    chain = [vertices[source], *(grid.add(row, 0.0) for row in passed), vertices[target]]
    if bent or rows[target] == rows[source] + 1:
        for upper, lower in pairwise(chain):
            grid.join(upper, lower)
    return chain


def _order(grid: _Grid) -> None:
    """Order each layer so that few lines cross."""
    best, fewest = [list(row) for row in grid.rows], _crossings(grid)
    place = [0] * len(grid.widths)
    for row in grid.rows:
        _number(row, place)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        sides = grid.above if down else grid.below
        for row in grid.rows[1:] if down else grid.rows[-2::-1]:
            wanted = {vertex: _mean([place[each] for each in sides[vertex]], place[vertex]) for vertex in row}
            row.sort(key=wanted.__getitem__)
            _number(row, place)
        if (crossings := _crossings(grid)) < fewest:
            best, fewest = [list(row) for row in grid.rows], crossings
    grid.rows[:] = best


def _number(row: Sequence[int], place: list[int]) -> None:
    for n, vertex in enumerate(row):
        place[vertex] = n


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _crossings(grid: _Grid) -> int:
    """Count how often lines cross between neighbouring layers."""
    found = 0
    for upper_row, lower_row in pairwise(grid.rows):
        place = {vertex: n for n, vertex in enumerate(lower_row)}
        seen: list[int] = []
        for vertex in upper_row:
            ends = sorted(place[each] for each in grid.below[vertex])
            found += sum(len(seen) - bisect(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return found


def _places(grid: _Grid, across: float) -> list[float]:
    """Return the middle of each vertex: near the middle of what it is joined to."""
    xs = [0.0] * len(grid.widths)
    for row in grid.rows:
        _put(grid, row, dict.fromkeys(row, 0.0), across, xs)
    for sweep in range(_SWEEPS):
        sides = [grid.above] if sweep % 2 == 0 else [grid.below]
        if _SWEEPS - 4 <= sweep < _SWEEPS - 2:
            sides = [grid.above, grid.below]
        for row in grid.rows if sweep % 2 == 0 else reversed(grid.rows):
            wanted = {
                vertex: _mean([xs[each] for side in sides for each in side[vertex]], xs[vertex]) for vertex in row
            }
            _put(grid, row, wanted, across, xs)
    left = min((x - width / 2 for x, width in zip(xs, grid.widths, strict=True)), default=0.0)
    return [x - left for x in xs]


def _put(grid: _Grid, row: Sequence[int], wanted: Mapping[int, float], across: float, xs: list[float]) -> None:
    """Place a layer as near as can be to where its vertices want to be, in its order and with its gaps."""
    offsets, offset = [], 0.0
    for n, vertex in enumerate(row):
        if n:
            offset += (grid.widths[row[n - 1]] + grid.widths[vertex]) / 2 + across
        offsets.append(offset)
    pools: list[list[float]] = []  # sum and number of those that have moved together
    for vertex, place in zip(row, offsets, strict=True):
        pools.append([wanted[vertex] - place, 1.0])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            moved, number = pools.pop()
            pools[-1][0] += moved
            pools[-1][1] += number
    shifts = (moved / number for moved, number in pools for _ in range(int(number)))
    for vertex, place, shift in zip(row, offsets, shifts, strict=True):
        xs[vertex] = place + shift
