"""Queues of other people in a virtual host: made, filled and looked into by RabbitMQ's HTTP API."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from tests.support.stack import rabbitmq_api

from leat_stack import Endpoints

DEAD = "dead"


@dataclass(frozen=True)
class Queues:
    """The queues of one virtual host."""

    endpoints: Endpoints
    url: str

    @property
    def vhost(self) -> str:
        return quote(urlsplit(self.url).path.removeprefix("/"), safe="")

    def declare(self, name: str) -> None:
        """A queue with dead letters, and the queue of these."""
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": DEAD}
        self._ask("PUT", f"queues/{self.vhost}/{DEAD}", {"durable": True})
        self._ask("PUT", f"queues/{self.vhost}/{name}", {"durable": True, "arguments": arguments})

    def publish(self, queue: str, body: Any, message_id: str | None = None, **properties: Any) -> None:
        payload = body if isinstance(body, str) else json.dumps(body)
        properties |= {} if message_id is None else {"message_id": message_id}
        message = {"properties": properties, "routing_key": queue, "payload": payload, "payload_encoding": "string"}
        assert self._ask("POST", f"exchanges/{self.vhost}/amq.default/publish", message) == {"routed": True}

    def bodies(self, queue: str) -> list[Any]:
        """What waits in a queue. It stays there."""
        question = {"count": 1000, "ackmode": "ack_requeue_true", "encoding": "auto"}
        found = self._ask("POST", f"queues/{self.vhost}/{queue}/get", question)
        return [each["payload"] for each in found]

    def _ask(self, method: str, path: str, body: Any) -> Any:
        return rabbitmq_api(self.endpoints, method, f"/api/{path}", body)
