"""Records of other people's topics, committed when they have been dealt with.

A consumer belongs to the group of its trigger. An offset is committed when all records up to it have been dealt with,
so what was not comes again, perhaps with some that were. As with RabbitMQ nothing is mended in place: at the first
doubt the session is given up for a new one.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaConnectionError

from leat_engine.kafka.connection import Way, cause, client_settings, connecting, cut, end, leave
from leat_engine.kafka.record import Record, Subscription
from leat_engine.spec.brokers import Brokers
from leat_engine.trigger import Fate

REQUEST_TIMEOUT = 15.0
SESSION_TIMEOUT = 6.0
"""Seconds until the group gives up a member that says nothing; then whoever takes over gets its partitions."""
HEARTBEAT = 2.0
ASK = 2.0
"""Seconds without a record after which the brokers are asked whether they are there."""
SILENCE = 8.0
"""Seconds for their answer, and for that to a commit."""
METADATA_AGE = 30.0
"""Seconds until a new partition is noticed, at most."""
LONGEST_PAUSE = 4.0
"""Seconds between two attempts to reach the brokers, at most."""
NEVER = 2**31 - 1
"""Milliseconds: a record may wait as long as it has to, and its consumer stays in the group."""

log = structlog.get_logger(__name__)


class NotThere(Exception):
    """A topic is not there."""


class Events:
    """Consumes one topic as a member of a group, anew on every loss.

    ``handle`` takes as long as it needs; when it fails, all that is not committed comes again.
    """

    def __init__(
        self, brokers: Brokers, subscription: Subscription, *, handle: Callable[[Record], Awaitable[Fate]]
    ) -> None:
        self._brokers = brokers
        self._subscription = subscription
        self._handle = handle
        self._way = Way()
        self._reason: str | None = "not connected yet"
        self._pause = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def away(self) -> str | None:
        """Why nothing is consumed at the moment; None while something is."""
        return None if self._reason is None else f"Kafka at {self._brokers} is away: {self._reason}"

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Leave the group, and disconnect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self) -> None:
        with connecting(self._way):
            while True:
                try:
                    await self._session()
                except Exception as error:  # noqa: BLE001  whatever it is, it is told, and no reason to stay away
                    self._lost(error)
                self._pause = min(LONGEST_PAUSE, 2 * self._pause or 0.2)
                # A fleet that lost its broker in one moment should not come back in one moment.
                await asyncio.sleep(self._pause * random.uniform(0.5, 1))  # noqa: S311 - jitter, not a secret

    def _lost(self, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, KafkaConnectionError) and self._way.trouble is not None:
            reason = cause(self._way.trouble)
        else:
            reason = str(error) if isinstance(error, NotThere) else cause(error)
        if reason != self._reason:  # once per kind of trouble, not once per attempt
            log.warning("topic not consumed", brokers=str(self._brokers), topic=self._subscription.topic, error=reason)
        self._reason = reason

    async def _session(self) -> None:
        consumer = AIOKafkaConsumer(
            **client_settings(self._brokers, timeout=REQUEST_TIMEOUT),
            group_id=self._subscription.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # also where the committed offset is of records that are gone
            isolation_level="read_committed",
            session_timeout_ms=int(SESSION_TIMEOUT * 1000),
            heartbeat_interval_ms=int(HEARTBEAT * 1000),
            max_poll_interval_ms=NEVER,
            metadata_max_age_ms=int(METADATA_AGE * 1000),
        )
        async with AsyncExitStack() as session:
            session.push_async_callback(lambda: end(leave(consumer)))
            await consumer.start()
            await self._begin(consumer)
            letters = await self._letters(session)
            consumer.subscribe([self._subscription.topic])
            while True:
                await self._round(consumer, letters)

    async def _letters(self, session: AsyncExitStack) -> AIOKafkaProducer | None:
        """Who sends dead letters; None when nobody takes them."""
        if self._subscription.dead_letters is None:
            return None
        settings = client_settings(self._brokers, timeout=REQUEST_TIMEOUT)
        letters = AIOKafkaProducer(**settings, enable_idempotence=True)
        session.push_async_callback(lambda: end(cut(letters)))
        await within(letters.start())
        return letters

    async def _begin(self, consumer: AIOKafkaConsumer) -> None:
        """Settle where a new group begins, before it has a member: else what comes between two starts would be lost."""
        partitions = await self._partitions(consumer)
        if not self._subscription.from_now:
            return
        committed = [await within(consumer.committed(partition)) for partition in partitions]
        if any(offset is not None for offset in committed):
            return  # what it does not know yet is newer than the group, and taken from its beginning
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        with suppress(CommitFailedError):  # the group has a member, which has settled it
            await within(consumer.commit(ends))
        consumer.unsubscribe()

    async def _partitions(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        """The partitions of the topic, asked for anew.

        Raises:
            NotThere: There are none.
        """
        topic = self._subscription.topic
        cluster = await within(consumer._client.fetch_all_metadata())  # noqa: SLF001  topics() has only their names
        if not (found := cluster.partitions_for_topic(topic)):
            raise NotThere(f"there is no topic '{topic}', or this user may not see it")
        return [TopicPartition(topic, number) for number in sorted(found)]

    async def _round(self, consumer: AIOKafkaConsumer, letters: AIOKafkaProducer | None) -> None:
        batch = await consumer.getmany(timeout_ms=int(ASK * 1000), max_records=self._subscription.prefetch)
        if not batch:
            await within(consumer.end_offsets(consumer.assignment()))
        if consumer.assignment():
            self._reason, self._pause = None, 0.0
        async with asyncio.TaskGroup() as group:
            for record in (record for records in batch.values() for record in records):
                group.create_task(self._settle(record, letters))
        await _commit(consumer, {partition: records[-1].offset + 1 for partition, records in batch.items()})

    async def _settle(self, record: ConsumerRecord, letters: AIOKafkaProducer | None) -> None:
        fate = await self._handle(record_of(record))
        if fate is Fate.REJECTED and letters is not None:
            origin = {**(self._subscription.origin or {}), "leat-record": identity(record)}
            headers = [*record.headers, *((name, text.encode()) for name, text in origin.items())]
            topic = self._subscription.dead_letters
            # A record without a key and a value cannot be sent by this client; it is a letter without words.
            value = b"" if record.key is None and record.value is None else record.value
            await within(letters.send_and_wait(topic, value, key=record.key, headers=headers))


async def within(call: Awaitable[Any]) -> Any:
    """Await an answer of the brokers, for which the client would wait for ever.

    Raises:
        TimeoutError: There was none.
    """
    async with asyncio.timeout(SILENCE):
        return await call


async def _commit(consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int]) -> None:
    """Commit what is still ours. The rest comes again to whom it was given."""
    ours = {partition: offset for partition, offset in offsets.items() if partition in consumer.assignment()}
    if not ours:
        return
    try:
        await within(consumer.commit(ours))
    except (CommitFailedError, IllegalStateError) as error:
        log.info("offsets not committed, the partitions were given to another member", error=repr(error))


def record_of(record: ConsumerRecord) -> Record:
    """What the client delivered, as values. Of headers of the same name the last one counts."""
    return Record(
        id=identity(record),
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        headers=dict(record.headers),
        timestamp=datetime.fromtimestamp(max(0, record.timestamp) / 1000, UTC),
    )


def identity(record: ConsumerRecord) -> str:
    """What no other record has. The time tells it from one of an earlier topic of the same name."""
    return f"{record.topic}/{record.partition}/{record.offset}/{record.timestamp}"
