"""Runs of a database, with all their steps and attempts."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from leat_cli.problems import Invalid, Unavailable
from leat_cli.recorded import snapshot_of
from leat_cli.resources import WorkflowSnapshot
from leat_cli.snapshot import RunSnapshot
from leat_engine.errors import StoreRefused, StoreUnavailable
from leat_engine.records import RunRecord
from leat_engine.store import Store


class Database:
    """The store behind a database URL."""

    where = "the database"
    namespace = "default"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._specs: dict[str, Mapping[str, Any]] = {}  # revisions never change

    @classmethod
    async def connect(cls, url: str) -> "Database":
        """Open the database and check its schema.

        Raises:
            Unavailable: It cannot be opened.
            SchemaMismatch: Its schema is another one than this program's.
        """
        with explained(url):
            return cls(await Store.connect(url, size=1))

    async def runs(self, namespace: str | None, limit: int) -> list[RunSnapshot]:
        """Return the newest runs of a namespace, or of all, without their steps."""
        return [snapshot_of(run, await self._spec(run)) for run in await self._store.runs(namespace, limit)]

    async def run(self, namespace: str, name: str) -> RunSnapshot | None:
        """Return the newest run of this name, or None."""
        run = await self._store.find_run(namespace, name)
        return None if run is None else await self.whole(run)

    async def whole(self, run: RunRecord) -> RunSnapshot:
        """Return a run with its steps and attempts."""
        steps = await self._store.steps(run.run_id)
        attempts = await self._store.attempts(run.run_id)
        return snapshot_of(run, await self._spec(run), steps, attempts)

    async def workflows(self, namespace: str | None) -> list[WorkflowSnapshot]:  # noqa: ARG002 - the port's signature
        """Refuse: workflows are resources of a cluster, a database only knows their revisions.

        Raises:
            Invalid: Always.
        """
        raise Invalid.because("workflows live in a cluster, a database holds runs only: leave --database out")

    async def workflow(self, namespace: str, name: str) -> WorkflowSnapshot | None:  # noqa: ARG002 - the port's signature
        """Refuse, as `workflows` does.

        Raises:
            Invalid: Always.
        """
        await self.workflows(namespace)
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._store.close()

    async def _spec(self, run: RunRecord) -> Mapping[str, Any]:
        if run.revision not in self._specs:
            revision = await self._store.revision(run.revision)
            self._specs[run.revision] = revision.spec if revision else {}
        return self._specs[run.revision]


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Say which database it was that refused, or did not answer.

    Raises:
        Unavailable: Instead of what the store says.
    """
    try:
        yield
    except StoreUnavailable as error:
        place = _without_password(url)
        raise Unavailable(f"{place}: {error}: check the URL, and that Postgres runs there") from error
    except StoreRefused as error:
        raise Unavailable(f"{_without_password(url)}: {error}") from error


def _without_password(url: str) -> str:
    """Return the URL as it may be shown."""
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return "(a URL that cannot be read)"
    return url.replace(f":{password}@", ":***@", 1) if password else url
