"""A picture as a Mermaid flowchart, which GitHub, GitLab and many wikis draw."""

from collections.abc import Iterator, Sequence

from leat_cli.drawing.picture import Node, Picture

_ENTITIES = str.maketrans(
    {"&": "#amp;", "<": "#lt;", ">": "#gt;", '"': "#quot;", "#": "#35;", "`": "#96;", "\\": "#92;"}
)
_INDENT = "  "


def mermaid(picture: Picture) -> str:
    """Return the flowchart: a step with bodies is a subgraph, an edge that handles a failure is dotted."""
    lines = ["---", f"title: {_quoted(picture.title)}", "---", "flowchart TD", *_nodes(picture.nodes, _INDENT)]
    for link in picture.links:
        arrow = "-.->" if link.handles else "-->"
        label = f'|"{link.on}"|' if link.on else ""
        lines.append(f"{_INDENT}n{link.source} {arrow}{label} n{link.target}")
    return "\n".join(lines) + "\n"


def _nodes(nodes: Sequence[Node], indent: str) -> Iterator[str]:
    for node in nodes:
        if not node.bodies:
            yield f'{indent}n{node.id}["{_label(node)}"]'
            continue
        yield f'{indent}subgraph n{node.id}["{_label(node)}"]'
        for number, body in enumerate(node.bodies):
            if body.label:
                yield f'{indent}{_INDENT}subgraph n{node.id}b{number}["{_escaped(body.label)}"]'
                yield from _nodes(body.nodes, indent + 2 * _INDENT)
                yield f"{indent}{_INDENT}end"
            else:
                yield from _nodes(body.nodes, indent + _INDENT)
        yield f"{indent}end"


def _label(node: Node) -> str:
    remarks = "".join(f"<br/><i>{_escaped(remark)}</i>" for remark in node.remarks)
    return f"{_escaped(node.name)}<br/><small>{_escaped(node.kind)}</small>{remarks}"


def _escaped(text: str) -> str:
    """Return a text in which nothing is Mermaid's or HTML's."""
    return text.translate(_ENTITIES)


def _quoted(text: str) -> str:
    """Return a text as YAML takes it."""
    return "'" + text.replace("'", "''") + "'"
