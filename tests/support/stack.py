"""What a test takes from the running stack: a database, a virtual host, a namespace of its own, gone when it is."""

import asyncio
import http.client
import json
import secrets
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
from kubernetes import client, config

from leat_stack import Endpoints

GROUP, VERSION = "leat.dev", "v1alpha1"


@contextmanager
def fresh_database(endpoints: Endpoints) -> Iterator[str]:
    """Yield the DSN of a new, empty database."""
    name = f"test_{secrets.token_hex(6)}"
    _sql(endpoints.postgres_dsn, f"create database {name}")
    url = urlsplit(endpoints.postgres_dsn)
    try:
        yield f"{url.scheme}://{url.netloc}/{name}?{url.query}"
    finally:
        _sql(endpoints.postgres_dsn, f"drop database {name} with (force)")


@contextmanager
def fresh_vhost(endpoints: Endpoints) -> Iterator[str]:
    """Yield the AMQP URL of a new virtual host, without queues."""
    name = f"test-{secrets.token_hex(6)}"
    url = urlsplit(endpoints.amqp_url)
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    rabbitmq_api(endpoints, "PUT", f"/api/vhosts/{name}")
    rabbitmq_api(endpoints, "PUT", f"/api/permissions/{name}/{quote(url.username or 'guest', safe='')}", everything)
    try:
        yield urlunsplit(url._replace(path=f"/{name}"))
    finally:
        rabbitmq_api(endpoints, "DELETE", f"/api/vhosts/{name}")


@contextmanager
def fresh_namespace(endpoints: Endpoints) -> Iterator[str]:
    """Yield the name of a new namespace. What a controller manager would clean up is cleaned up here: there is none."""
    api = config.new_client_from_config(endpoints.kubeconfig)
    name = f"test-{secrets.token_hex(6)}"
    released = client.V1Namespace(metadata=client.V1ObjectMeta(name=name), spec=client.V1NamespaceSpec(finalizers=[]))
    namespaces, resources = client.CoreV1Api(api), client.CustomObjectsApi(api)
    namespaces.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=name)))
    try:
        yield name
    finally:
        for plural in _plurals(resources):
            resources.delete_collection_namespaced_custom_object(GROUP, VERSION, name, plural)
        namespaces.delete_namespace(name)
        namespaces.replace_namespace_finalize(name, released)
        api.close()


def rabbitmq_api(endpoints: Endpoints, method: str, path: str, body: object = None) -> object:
    """Ask RabbitMQ's HTTP API and return the decoded answer, None where it has no body."""
    url = urlsplit(endpoints.amqp_management_url)
    credentials = b64encode(f"{url.username}:{url.password}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)
    try:
        connection.request(method, path, json.dumps(body or {}), headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise AssertionError(f"{method} {path}: {answer.status} {text.decode()}")
    return json.loads(text) if text else None


def _plurals(resources: client.CustomObjectsApi) -> list[str]:
    served = resources.get_api_resources(GROUP, VERSION).resources
    return [each.name for each in served if "deletecollection" in each.verbs]


def _sql(dsn: str, statement: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:  # leaves the loop of the test alone
        runner.run(run())
