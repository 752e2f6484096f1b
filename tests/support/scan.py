"""Looks for a value everywhere that Leat leaves something: tables, logs, resources, events, messages, metrics."""

import html
import json
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import asyncpg
from kubernetes import client, config
from tests.support.stack import GROUP, VERSION, rabbitmq_api

from leat_stack import Endpoints

TAP = "tap"


@dataclass
class Findings:
    """What was looked at, by place, as text."""

    texts: dict[str, str] = field(default_factory=dict)

    def add(self, place: str, texts: Iterable[str]) -> None:
        self.texts[place] = self.texts.get(place, "") + "\n".join(texts)

    def places_of(self, value: str) -> list[str]:
        """Where the value is, and in which form."""
        return [
            f"{place}: {name} form" for place, text in self.texts.items() for name, form in forms(value) if form in text
        ]


def forms(value: str) -> Iterator[tuple[str, str]]:
    """A value as it can be met. Written apart from what masks, which it tests."""
    data = value.encode()
    yield "raw", value
    yield "raw lines", max(value.splitlines(), key=len)
    for name, encode in (("base64", b64encode), ("urlsafe base64", urlsafe_b64encode)):
        for before in range(3):
            # Whole groups of three bytes, wherever in a longer text they are.
            inner = data[(3 - before) % 3 :]
            yield f"{name} at {before}", encode(inner[: len(inner) // 3 * 3]).decode()
    yield "hex", data.hex()
    for name, write in (("quoted", quote), ("plus-quoted", quote_plus), ("html", html.escape)):
        yield name, write(value)
    yield "fully quoted", quote(value, safe="")
    yield "json", json.dumps(value)[1:-1]
    yield "half", value[: len(value) // 2]


async def tables(dsn: str) -> dict[str, list[str]]:
    """Every row of every table of the database, as text."""
    connection = await asyncpg.connect(dsn)
    try:
        names = await connection.fetch(
            "select format('%I.%I', schemaname, tablename) as name from pg_tables"
            " where schemaname not in ('pg_catalog', 'information_schema')"
        )
        found = {}
        for (name,) in names:
            rows = await connection.fetch(f"select row_to_json(t)::text as line from {name} t")  # noqa: S608 - names
            found[name] = [row["line"] for row in rows]
        return found
    finally:
        await connection.close()


def resources(kubeconfig: str, namespaces: Iterable[str]) -> dict[str, str]:
    """Every object of Leat, every event and every Lease of the namespaces."""
    connect: Any = config.new_client_from_config
    with connect(kubeconfig) as api:
        custom, core = client.CustomObjectsApi(api), client.CoreV1Api(api)
        found = {}
        for namespace in namespaces:
            for plural in ("workflows", "workflowruns"):
                items = custom.list_namespaced_custom_object(GROUP, VERSION, namespace, plural)
                found[f"{plural} of {namespace}"] = json.dumps(items, ensure_ascii=False)
            events = api.sanitize_for_serialization(core.list_namespaced_event(namespace))
            found[f"events of {namespace}"] = json.dumps(events, ensure_ascii=False)
        return found


def tap(endpoints: Endpoints, amqp_url: str) -> str:
    """Have RabbitMQ copy every message of the virtual host, in and out, into a queue."""
    vhost = urlsplit(amqp_url).path.removeprefix("/")
    rabbitmq_api(endpoints, "PUT", f"/api/vhosts/{vhost}", {"tracing": True})
    rabbitmq_api(endpoints, "PUT", f"/api/queues/{vhost}/{TAP}", {"durable": False, "auto_delete": False})
    rabbitmq_api(
        endpoints, "POST", f"/api/bindings/{vhost}/e/amq.rabbitmq.trace/q/{TAP}", {"routing_key": "#", "arguments": {}}
    )
    return vhost


def tapped(endpoints: Endpoints, vhost: str) -> list[str]:
    """The messages that went by, with their headers."""
    asked = {"count": 100_000, "ackmode": "ack_requeue_false", "encoding": "base64"}
    messages: Any = rabbitmq_api(endpoints, "POST", f"/api/queues/{vhost}/{TAP}/get", asked)
    return [
        b64decode(one["payload"]).decode(errors="replace") + json.dumps(one["properties"], ensure_ascii=False)
        for one in messages
    ]
