"""Object stores for tests: a directory, and an S3 server of this machine."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

BUCKET = "leat-test"


@contextmanager
def an_s3_server(log: Path, host: str = "127.0.0.1") -> Iterator[str]:
    """Yield the URL of a bucket that is served over HTTP, with credentials for it in the environment."""
    with socket.socket() as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    endpoint = f"http://{host}:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", host, "-p", str(port)]
    credentials = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as server:
        try:
            _made(f"{endpoint}/{BUCKET}")
            with patch.dict(os.environ, credentials):
                yield f"s3://{BUCKET}/some/prefix?endpoint={endpoint}&region=us-east-1"
        finally:
            server.terminate()


def _made(url: str) -> None:
    """Make the bucket as soon as the server answers."""
    end = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=10).close()  # noqa: S310  our own
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
