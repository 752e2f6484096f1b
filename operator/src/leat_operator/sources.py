"""Where the messages of a trigger come from: the broker's URL, which may be in a Secret, and the client of its kind."""

import asyncio
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from leat_engine.errors import Reason
from leat_engine.kafka.record import Record, Subscription
from leat_engine.queue import rabbit
from leat_engine.queue.rabbit import Message
from leat_engine.spec.brokers import brokers_of
from leat_engine.spec.trigger import Amqp, Kafka, SecretKey, check_url
from leat_engine.trigger import Fate, Trigger
from leat_operator.cluster import Cluster, Forbidden
from leat_operator.insist import insist
from leat_operator.objects import SECRETS
from leat_operator.standing import Standing

PAUSE = 5.0
"""Seconds between two attempts to read a Secret."""
MAY_READ = "leat.dev/secret"

Key = tuple[str, str, str]
"""Namespace, Workflow, trigger."""
Handle = Callable[[Message | Record], Awaitable[Fate]]


class Events(Protocol):
    """Consumes for one trigger, anew on every loss."""

    @property
    def away(self) -> str | None:
        """Why nothing is consumed at the moment; None while something is."""

    def start(self) -> None:
        """Begin."""

    async def close(self) -> None:
        """Give back what is not settled, and disconnect."""


class Sources:
    """Makes consumers for triggers."""

    def __init__(self, cluster: Cluster, standing: Standing) -> None:
        self._cluster = cluster
        self._standing = standing

    async def events(self, key: Key, trigger: Trigger, handle: Handle) -> Events:
        """The consumer of a trigger, as soon as it can be known where its messages are. It has not begun yet."""
        spec = trigger.spec
        if spec.kafka is not None:
            brokers = brokers_of(await self._url(key, spec.kafka))
            from leat_engine.kafka import events  # noqa: PLC0415  12 MB that few installations need

            return events.Events(brokers, subscription_of(key, spec.kafka), handle=handle)
        if spec.amqp is None:
            raise AssertionError("a schedule has no messages")
        url = await self._url(key, spec.amqp)
        return rabbit.Events(url, spec.amqp.queue, prefetch=spec.amqp.prefetch, handle=handle)

    async def _url(self, key: Key, source: Amqp | Kafka) -> str:
        """The URL of the broker, as soon as it can be known."""
        if source.secret_ref is None:
            return source.url or ""
        while True:
            found = await self._secret(key[0], source.secret_ref, _check(source))
            if isinstance(found, str):
                return found
            self._standing.tell_trigger(key[:2], key[2], message=found.message)
            await asyncio.sleep(PAUSE)

    async def _secret(self, namespace: str, ref: SecretKey, check: Callable[[str], str]) -> str | Reason:
        """What a Secret holds, or why it is not to be had. Nothing of its value is ever told."""
        secret, path = f"Secret {ref.name}", "secretRef"
        try:
            body = await insist(lambda: self._cluster.get(SECRETS, namespace, ref.name), even_forbidden=False)
        except Forbidden:
            return Reason(
                path,
                f"the operator may not read {secret}: kubectl create role leat-triggers -n {namespace} --verb=get "
                f"--resource=secrets --resource-name={ref.name}, and a rolebinding of it to the operator's account",
            )
        if body is None:
            return Reason(path, f"there is no {secret} in namespace {namespace}")
        if (body["metadata"].get("labels") or {}).get(MAY_READ) != "true":
            command = f"kubectl label secret {ref.name} -n {namespace} {MAY_READ}=true"
            return Reason(path, f"{secret} does not say that workflows may read it. If they may: {command}")
        data: Mapping[str, str] = body.get("data") or {}
        if ref.key not in data:
            return Reason(path, f"{secret} has no key {ref.key!r}; it has: {', '.join(sorted(data)) or 'none'}")
        try:
            return check(b64decode(data[ref.key]).decode().strip())
        except ValueError as error:
            return Reason(path, f"key {ref.key!r} of {secret}: {error}")


def subscription_of(key: Key, spec: Kafka) -> Subscription:
    """What a trigger consumes of its topic."""
    namespace, workflow, trigger = key
    return Subscription(
        topic=spec.topic,
        group=spec.consumer_group or f"leat.{namespace}.{workflow}.{trigger}",
        from_now=spec.initial_offset == "latest",
        prefetch=spec.prefetch,
        dead_letters=spec.dead_letter_topic,
        origin={"leat-trigger": f"{namespace}/{workflow}/{trigger}"},
    )


def _check(source: Amqp | Kafka) -> Callable[[str], str]:
    return _of_kafka if isinstance(source, Kafka) else _of_amqp


def _of_kafka(url: str) -> str:
    brokers_of(url)
    return url


def _of_amqp(url: str) -> str:
    try:
        return check_url(url)
    except ValueError:  # its text would show the value
        raise ValueError("is no URL such as amqp://USER:PASSWORD@HOST/VHOST") from None
