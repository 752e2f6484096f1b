"""`leat catalogue`: the step templates that come with Leat."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leat_cli import options
from leat_cli.output import print_value
from leat_cli.problems import Invalid

if TYPE_CHECKING:
    from leat_engine.spec.template import StepTemplate

app = typer.Typer(help="The step templates that come with Leat.", no_args_is_help=True)


@app.command("list")
def show_all(*, output: options.Output = None) -> None:
    """Name every template and what its steps do."""
    from leat_engine.spec.catalogue import library

    if output is not None:
        print_value([{"name": name, "description": each.description} for name, each in library().items()], output)
        return
    width = max(map(len, library()))
    for name, template in library().items():
        typer.echo(f"{name:{width}}   {(template.description or '').split('. ')[0].rstrip('.')}")
    typer.echo("its parameters, and a step to copy: `leat catalogue show NAME`", err=True)


@app.command("show")
def show_one(
    name: Annotated[str, typer.Argument(help="Name of the template, such as slack/post-message.")],
    *,
    output: options.Output = None,
) -> None:
    """Show the parameters of a template, and a step that uses it."""
    from leat_engine.spec.catalogue import library
    from leat_engine.spelling import unknown

    template = library().get(name)
    if template is None:
        raise Invalid.because(unknown("template", name, library()))
    if output is not None:
        print_value({"name": name, **template.as_json()}, output)
        return
    typer.echo("\n".join(_shown(name, template)))


def _shown(name: str, template: "StepTemplate") -> Iterator[str]:
    yield f"{name}: {template.description}"
    yield ""
    width = max(map(len, template.parameters), default=0)
    for parameter, schema in template.parameters.items():
        yield f"  {parameter:{width}}   {schema.get('description', '')} ({', '.join(facts(schema))})"
    yield ""
    yield f"- name: {name.rpartition('/')[2]}"
    yield f"  use: {name}"
    yield "  with:"
    for parameter, schema in template.parameters.items():
        if "default" not in schema and not schema.get("optional"):
            yield f"    {parameter}: {_example(schema)}"


def facts(schema: dict[str, Any]) -> Iterator[str]:
    """Yield what a parameter takes, in words."""
    if "enum" in schema:
        yield f"one of {', '.join(map(str, schema['enum']))}"
    elif isinstance(schema.get("type"), str):
        yield schema["type"]
    else:
        yield "anything"
    if schema.get("sensitive"):
        yield "an expression with secret()"
    if "default" in schema:
        yield f"{schema['default']} unless stated"
    else:
        yield "optional" if schema.get("optional") else "required"


def _example(schema: dict[str, Any]) -> str:
    if schema.get("sensitive"):
        return "${ secret('NAME', 'KEY') }"
    return {"array": "[]", "object": "{}", "string": "..."}.get(str(schema.get("type")), "{}")
