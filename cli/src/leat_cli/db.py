"""`leat db`: the schema of the database."""

import asyncio
from typing import Annotated

import typer

app = typer.Typer(help="The schema of the database.", no_args_is_help=True)

Url = Annotated[
    str,
    typer.Option("--database", envvar="LEAT_DATABASE_URL", metavar="URL", help="postgresql://USER:PASSWORD@HOST/NAME"),
]


@app.command()
def migrate(database: Url) -> None:
    """Bring the database to the schema of this program. Doing it twice changes nothing."""
    from leat_cli.database import explained
    from leat_engine.store import migrate as apply

    with explained(database):
        applied = asyncio.run(apply(database))
    for name in applied:
        typer.echo(f"applied {name}")
    typer.echo("the database is up to date", err=True)


@app.command()
def status(database: Url) -> None:
    """Say whether the database has the schema of this program. Exits with 3 when it has not."""
    from leat_cli.database import explained
    from leat_engine.store import Store

    async def check() -> None:
        store = await Store.connect(database, size=1)
        await store.close()

    with explained(database):
        asyncio.run(check())
    typer.echo("the database is up to date")
