"""A picture as a tree of text."""

from collections.abc import Iterator, Sequence

from leat_cli.drawing.picture import Link, Node, Picture
from leat_cli.forest import placed
from leat_cli.snapshot import StepSnapshot


def text(picture: Picture) -> str:
    """Return one line for each step: its name below one that it needs, its kind, and what else there is to say."""
    rows = list(_rows(picture.nodes, picture.links, ""))
    width = max((len(name) for name, _, _ in rows), default=0)
    kinds = max((len(kind) for _, kind, _ in rows), default=0)
    lines = [f"{name:{width}}   {kind:{kinds}}   {remark}".rstrip() for name, kind, remark in rows]
    return "\n".join([picture.title, *lines]) + "\n"


def _rows(nodes: Sequence[Node], links: Sequence[Link], guide: str) -> Iterator[tuple[str, str, str]]:
    known = {node.name: node for node in nodes}
    names = {node.id: node.name for node in nodes}
    needs: dict[str, dict[str, str]] = {node.name: {} for node in nodes}
    for link in links:
        if link.target in names and link.source in names:
            needs[names[link.target]][names[link.source]] = link.on
    steps = [StepSnapshot(node.name, node.kind, "", needs=tuple(needs[node.name])) for node in nodes]
    for place in placed(steps):
        node = known[place.step.name]
        yield guide + place.guide + node.name, node.kind, "; ".join(_remarks(node, needs[node.name], place.also))
        inside = guide + place.guide.replace("├─ ", "│  ").replace("└─ ", "   ")
        for body in node.bodies:
            if body.label:
                yield f"{inside}┆ {body.label}", "", ""
            yield from _rows(body.nodes, links, f"{inside}┆ ")


def _remarks(node: Node, needs: dict[str, str], also: Sequence[str]) -> Iterator[str]:
    """Yield what a line says besides name and kind."""
    plain = [name for name in also if not needs[name]]
    for name, on in needs.items():
        if on:
            yield f"on {on} of {name}"
    if plain:
        yield f"needs {', '.join(plain)}, too"
    yield from node.remarks
