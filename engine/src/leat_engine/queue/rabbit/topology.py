"""What Leat owns in the broker, and the only place that declares it.

Per namespace one fanout exchange and one queue of dead letters, both ``leat-dead-letters.<namespace>``; per pool one
durable quorum queue ``leat.<namespace>.<pool>``. No two pools share a name: Kubernetes allows no dot in a namespace.

Each thing is looked for passively first and declared only when it is missing. So a queue with arguments of an earlier
version, or one that an administrator made for users without the permission to configure, is taken as it is.
"""

from aiormq.abc import AbstractConnection, ArgumentsType
from aiormq.exceptions import ChannelNotFoundEntity

RPC_TIMEOUT = 5.0
"""Seconds a broker may take to answer anything but a publish."""

DELIVERY_LIMIT = 20
"""Deliveries without an acknowledgement, by runners that died or paused, after which a job is a dead letter."""

_QUORUM: ArgumentsType = {"x-queue-type": "quorum"}
_DEAD_LETTERS: ArgumentsType = {**_QUORUM, "x-max-length": 10_000, "x-message-ttl": 7 * 24 * 3600 * 1000}


def pool_queue(namespace: str, pool: str) -> str:
    """The name of the queue that carries the jobs of ``pool``."""
    return f"leat.{namespace}.{pool}"


def dead_letters(namespace: str) -> str:
    """The name of the exchange and of the queue for what nobody could read or claim."""
    return f"leat-dead-letters.{namespace}"


async def declare_pool(connection: AbstractConnection, namespace: str, pool: str) -> None:
    """Make sure that the queue of ``pool``, and what it needs, is there.

    Raises:
        AMQPError: The broker refused, or went away.
        TimeoutError: It did not answer.
    """
    name, dead = pool_queue(namespace, pool), dead_letters(namespace)
    if await _exists(connection, name):
        return
    if not await _exists(connection, dead):
        await _declare_dead_letters(connection, dead)
    arguments: ArgumentsType = {**_QUORUM, "x-dead-letter-exchange": dead, "x-delivery-limit": DELIVERY_LIMIT}
    channel = await connection.channel(publisher_confirms=False, timeout=RPC_TIMEOUT)
    await channel.queue_declare(name, durable=True, arguments=arguments, timeout=RPC_TIMEOUT)
    await channel.close()


async def waiting(connection: AbstractConnection, namespace: str, pool: str) -> int | None:
    """Jobs that are ready in the queue of ``pool``; None when there is no such queue."""
    channel = await connection.channel(publisher_confirms=False, timeout=RPC_TIMEOUT)
    try:
        found = await channel.queue_declare(pool_queue(namespace, pool), passive=True, timeout=RPC_TIMEOUT)
    except ChannelNotFoundEntity:
        return None
    await channel.close()
    return found.message_count


async def _exists(connection: AbstractConnection, queue: str) -> bool:
    # A channel of its own: the broker's answer to a missing queue is to close the channel.
    channel = await connection.channel(publisher_confirms=False, timeout=RPC_TIMEOUT)
    try:
        await channel.queue_declare(queue, passive=True, timeout=RPC_TIMEOUT)
    except ChannelNotFoundEntity:
        return False
    await channel.close()
    return True


async def _declare_dead_letters(connection: AbstractConnection, name: str) -> None:
    channel = await connection.channel(publisher_confirms=False, timeout=RPC_TIMEOUT)
    await channel.exchange_declare(exchange=name, exchange_type="fanout", durable=True, timeout=RPC_TIMEOUT)
    await channel.queue_declare(name, durable=True, arguments=_DEAD_LETTERS, timeout=RPC_TIMEOUT)
    await channel.queue_bind(queue=name, exchange=name, timeout=RPC_TIMEOUT)
    await channel.close()
