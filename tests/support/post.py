"""A mail server that keeps what it is given."""

from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from typing import Any

from aiohttp.test_utils import unused_port
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message


class Post(Message):  # type: ignore[misc]
    """The mails, and where they are sent to."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.letters: list[Any] = []

    def prepare_message(self, _session: Any, envelope: Any) -> Any:
        return message_from_bytes(envelope.content, policy=policy.default)

    def handle_message(self, message: Any) -> None:
        self.letters.append(message)


@contextmanager
def a_post() -> Iterator[Post]:
    """Yield a mail server on loopback."""
    port = unused_port()  # the controller connects to the port that it was given
    post = Post(f"smtp://127.0.0.1:{port}")
    controller = Controller(post, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield post
    finally:
        controller.stop()
