"""Topics of other people in a Kafka: made, filled and looked into by its client."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError

from leat_engine.kafka.connection import Way, client_settings, connecting, cut
from leat_engine.spec.brokers import brokers_of

SECONDS = 20.0


@dataclass
class Topics:
    """The topics of one test. Their names begin with what no other test has."""

    url: str
    admin: AIOKafkaAdminClient
    producer: AIOKafkaProducer
    prefix: str = field(default_factory=lambda: secrets.token_hex(4))
    made: list[str] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def at(cls, url: str) -> AsyncIterator["Topics"]:
        """Yield what makes topics there, and takes them away again."""
        settings = client_settings(brokers_of(url, parameters=("mechanism", "cafile")), timeout=SECONDS)
        with connecting(Way()):
            admin, producer = AIOKafkaAdminClient(**settings), AIOKafkaProducer(**settings)
            await admin.start()
            await producer.start()
            topics = cls(url, admin, producer)
            try:
                yield topics
            finally:
                async with asyncio.timeout(SECONDS):
                    await admin.delete_topics(topics.made)
                    await cut(producer)
                    await admin.close()

    async def make(self, name: str = "orders", partitions: int = 2, **config: str) -> str:
        """A new topic; its whole name."""
        topic = f"{self.prefix}-{name}" if self.prefix else name
        wanted = NewTopic(topic, partitions, 1, topic_configs=config)
        answer = await self.admin.create_topics([wanted])
        assert all(error[1] == 0 for error in answer.topic_errors), answer
        self.made.append(topic)
        return topic

    async def widen(self, topic: str, partitions: int) -> None:
        await self.admin.create_partitions({topic: NewPartitions(partitions)})

    async def publish(self, topic: str, value: Any, **more: Any) -> Any:
        encoded = value if isinstance(value, bytes | None) else json.dumps(value).encode()
        return await self.producer.send_and_wait(topic, encoded, **more)

    async def records(self, topic: str) -> list[Any]:
        """What lies in a topic. It stays there."""
        settings = client_settings(brokers_of(self.url, parameters=("mechanism", "cafile")), timeout=SECONDS)
        consumer = AIOKafkaConsumer(**settings, auto_offset_reset="earliest", enable_auto_commit=False)
        await consumer.start()
        try:
            cluster = await consumer._client.fetch_all_metadata()
            partitions = [TopicPartition(topic, number) for number in sorted(cluster.partitions_for_topic(topic) or ())]
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            found: list[Any] = []
            async with asyncio.timeout(SECONDS):
                while any([await consumer.position(each) < end for each, end in ends.items()]):
                    for batch in (await consumer.getmany(timeout_ms=100)).values():
                        found += batch
            return found
        finally:
            await consumer.stop()

    async def committed(self, group: str) -> Mapping[int, int]:
        """The offsets that a group has committed, by partition."""
        try:
            offsets = await self.admin.list_consumer_group_offsets(group)
        except GroupCoordinatorNotAvailableError:  # of a broker that never had a group
            return {}
        return {partition.partition: offset.offset for partition, offset in offsets.items()}
