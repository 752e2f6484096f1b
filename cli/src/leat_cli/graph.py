"""`leat graph`: a workflow as a picture."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from leat_cli.problems import Invalid

if TYPE_CHECKING:
    from leat_cli.drawing.picture import Picture
    from leat_cli.order import Order


class Form(StrEnum):
    """Forms of a picture."""

    TEXT = "text"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


def graph(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML file; - is stdin.")],
    *,
    form: Annotated[
        Form, typer.Option("--format", "-f", help="A tree, or a picture of one of these forms.")
    ] = Form.TEXT,
    workflow: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The Workflow of the file to draw; unless stated, what `leat run` would run."
        ),
    ] = None,
) -> None:
    """Draw the steps of a workflow, what each needs, and on which ends and conditions it runs.

    The picture comes on stdout: `leat graph FILE -f svg > FILE.svg`, or in Markdown a block of `mermaid`.
    """
    from leat_cli.drawing.picture import picture_of

    order = _chosen(file, workflow)
    typer.echo(_draw(form, picture_of(order.plan, order.workflow)), nl=False)


def _draw(form: Form, picture: "Picture") -> str:
    from leat_cli.drawing.dot import dot
    from leat_cli.drawing.mermaid import mermaid
    from leat_cli.drawing.svg import svg
    from leat_cli.drawing.text import text

    return {Form.TEXT: text, Form.MERMAID: mermaid, Form.DOT: dot, Form.SVG: svg}[form](picture)


def _chosen(file: str, name: str | None) -> "Order":
    """Return what is to be drawn.

    Raises:
        Invalid: With every problem of the document, or there is no such Workflow.
    """
    from leat_cli.documents import is_leat, kind_of, name_of, read_documents
    from leat_cli.order import draft_of, of_workflow

    if name is None:
        return draft_of(file)[0]
    workflows = [each for each in read_documents(file) if is_leat(each) and kind_of(each) == "Workflow"]
    for document in reversed(workflows):
        if name_of(document) == name:
            return of_workflow(document)
    names = ", ".join(map(name_of, workflows)) or "none"
    raise Invalid.because(f"found no Workflow {name!r}, expected one of this file: {names}", file=file)
