"""A picture in DOT, the language of Graphviz."""

from collections.abc import Iterator, Sequence

from leat_cli.drawing.picture import Link, Node, Picture

_INDENT = "  "
_STYLE = (
    "compound=true;",
    'graph [fontname="Helvetica", fontsize=12, style="rounded", color="#8c959f"];',
    'node [fontname="Helvetica", fontsize=12, shape=box, style="rounded", color="#57606a"];',
    'edge [fontname="Helvetica", fontsize=10, color="#57606a"];',
)


def dot(picture: Picture) -> str:
    """Return the graph: a step with bodies is a cluster, an edge that handles a failure is dashed."""
    nodes = {node.id: node for node in _all(picture.nodes)}
    lines = [f"digraph {_quoted(picture.title)} {{", *(_INDENT + line for line in _STYLE)]
    lines += _statements(picture.nodes, _INDENT)
    lines += [_INDENT + _edge(link, nodes) for link in picture.links]
    return "\n".join([*lines, "}"]) + "\n"


def _statements(nodes: Sequence[Node], indent: str) -> Iterator[str]:
    for node in nodes:
        if not node.bodies:
            yield f"{indent}n{node.id} [label={_label(node)}];"
            continue
        yield f"{indent}subgraph cluster_n{node.id} {{"
        yield f"{indent}{_INDENT}label={_label(node)};"
        for number, body in enumerate(node.bodies):
            yield f"{indent}{_INDENT}subgraph cluster_n{node.id}b{number} {{"
            yield (
                f"{indent}{2 * _INDENT}label={_quoted(body.label)};"
                if body.label
                else f"{indent}{2 * _INDENT}peripheries=0;"
            )
            yield from _statements(body.nodes, indent + 2 * _INDENT)
            yield f"{indent}{_INDENT}}}"
        yield f"{indent}}}"


def _edge(link: Link, nodes: dict[int, Node]) -> str:
    """Return an edge. Graphviz has none between clusters: one between nodes is cut off at them."""
    source, target = nodes[link.source], nodes[link.target]
    facts = []
    if source.bodies:
        facts.append(f"ltail=cluster_n{source.id}")
    if target.bodies:
        facts.append(f"lhead=cluster_n{target.id}")
    if link.on:
        facts.append(f"label={_quoted(link.on)}")
    if link.handles:
        facts.append('style=dashed, color="#cf222e", fontcolor="#cf222e"')
    more = f" [{', '.join(facts)}]" if facts else ""
    return f"n{_inner(source, -1).id} -> n{_inner(target, 0).id}{more};"


def _inner(node: Node, which: int) -> Node:
    """Return a node that is drawn as one: the first or the last within the bodies of a step."""
    while node.bodies:
        node = node.bodies[which].nodes[which]
    return node


def _all(nodes: Sequence[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        for body in node.bodies:
            yield from _all(body.nodes)


def _label(node: Node) -> str:
    return _quoted("\n".join((node.name, node.kind, *node.remarks)))


def _quoted(text: str) -> str:
    """Return a DOT string: a backslash and a quote stand for themselves, a line break is one."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
