"""The samples and the ends they state, for the tests that run them here and in a cluster."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "config" / "samples"
STATED = "leat.dev/sample-"


@dataclass(frozen=True)
class Sample:
    """One file: one Workflow, one WorkflowRun that states the end of its story in annotations."""

    file: Path
    documents: list[dict[str, Any]]

    @property
    def run(self) -> dict[str, Any]:
        (found,) = [document for document in self.documents if document["kind"] == "WorkflowRun"]
        return found

    def stated(self, name: str) -> str | None:
        value: str | None = self.run["metadata"]["annotations"].get(STATED + name)
        return value

    @property
    def phase(self) -> str:
        return self.stated("phase") or ""

    @property
    def output(self) -> Any:
        return json.loads(self.stated("output") or "null")

    @property
    def functions(self) -> Path | None:
        """The module that a pool has to load."""
        name = self.stated("functions")
        return self.file.parent / name if name else None

    @property
    def secrets(self) -> dict[str, str]:
        """Environment variables that a runner needs."""
        return {name: f"{name}-value" for name in (self.stated("secrets") or "").split()}

    @property
    def served(self) -> Path | None:
        """The folder that a web server has to serve; its address is the input `url`."""
        name = self.stated("service")
        return self.file.parent / name if name else None


def samples(needs: str | None = None) -> list[Sample]:
    """The samples that need nothing but Leat; with ``needs="pods"``, those that need a cluster with nodes."""
    return [sample for sample in all_samples() if sample.stated("needs") == needs]


def all_samples() -> list[Sample]:
    return samples_of(FOLDER)


def samples_of(folder: Path) -> list[Sample]:
    """The files of a folder in the order of their names."""
    return [Sample(file, list(yaml.safe_load_all(file.read_text()))) for file in sorted(folder.glob("*.yaml"))]


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Yield the address of a web server on loopback that serves the folder."""
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature of the standard library
        """Say nothing."""
