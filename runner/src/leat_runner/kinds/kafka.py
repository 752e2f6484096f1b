"""Records of steps for Kafka topics; with the engine's `kafka` the only module that talks to a broker of it.

A producer is shared by the steps that name the same brokers, user and password. It is idempotent and waits for all
replicas in sync. A record is a batch of its own: a broker refuses a batch as a whole, and nobody else's record may be
lost with a wrong one. After the first failure a producer is dropped, and the next record has a new one.
"""

import asyncio
import ssl
from dataclasses import dataclass
from functools import partial

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    BrokerResponseError,
    ClusterAuthorizationFailedError,
    KafkaConnectionError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    RecordListTooLargeError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
    UnknownProducerId,
)

from leat_engine.kafka.connection import KAFKA_ERRORS, LOGIN_ERRORS, Way, cause, client_settings, connecting, cut, end
from leat_engine.limits import OUTPUT_BYTES
from leat_engine.result import ErrorType, StepError
from leat_engine.spec.brokers import Brokers
from leat_runner.kinds.amqp import NotPublished
from leat_runner.kinds.kept import Kept
from leat_runner.kinds.network import PrivateAddress, PublicLoop
from leat_runner.kinds.record import Place, Record

CONNECT_TIMEOUT = 10.0
REQUEST_TIMEOUT = 30.0
"""Seconds that a broker has for one answer. How long a record may take is the step's to say."""
LOOKS = 5
PAUSE = 0.2
"""How often, and after how many seconds each, a topic is looked for that is not there: it may just have been made."""
ROOM = 64 * 1024
"""Bytes that a record may have beyond its value."""


@dataclass(slots=True, eq=False)
class _Cluster:
    """A producer, and how it connects."""

    producer: AIOKafkaProducer
    way: Way
    doubtful: bool = False


class Clusters:
    """Publishes to any Kafka.

    Args:
        public_only: Whether brokers in private networks are out of reach, whoever names them.
    """

    def __init__(self, *, public_only: bool) -> None:
        self._public_only = public_only
        self._kept: Kept[Brokers, _Cluster] = Kept(self._open, _close, lambda cluster: not cluster.doubtful)

    async def publish(self, brokers: Brokers, record: Record) -> Place:
        """Return when all replicas in sync have the record. How long that may take is the caller's to say.

        Raises:
            NotPublished: They have not.
        """
        while True:
            async with self._kept.lent(brokers) as cluster:
                try:
                    return await _publish(cluster, record)
                except (OutOfOrderSequenceNumber, UnknownProducerId):
                    continue  # the wrong record of somebody else came before: this one is surely not there yet
                except _Absent as error:
                    raise NotPublished(_absent(brokers, record)) from error
                except KAFKA_ERRORS as error:
                    raise NotPublished(_error_of(brokers, record, cluster.way, error)) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._kept.close()

    async def _open(self, brokers: Brokers) -> _Cluster:
        way = Way(PublicLoop if self._public_only else None)
        with connecting(way):
            try:
                settings = await asyncio.to_thread(partial(client_settings, brokers, timeout=REQUEST_TIMEOUT))
                producer = AIOKafkaProducer(
                    **settings, enable_idempotence=True, max_batch_size=1, max_request_size=OUTPUT_BYTES + ROOM
                )
            except OSError as error:
                raise NotPublished(_connection(brokers, f"TLS: {cause(error)}", "Tls")) from error
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    await producer.start()
            except KAFKA_ERRORS as error:
                await end(cut(producer))
                raise NotPublished(_away(brokers, way.trouble or error)) from error
            except BaseException:
                await end(cut(producer))
                raise
        return _Cluster(producer, way)


class _Absent(Exception):
    """The brokers know no such topic."""


async def _publish(cluster: _Cluster, record: Record) -> Place:
    producer, headers = cluster.producer, list(record.headers.items())
    with connecting(cluster.way):
        await _find(producer, record.topic)
        try:
            done = await producer.send_and_wait(record.topic, record.value, key=record.key, headers=headers)
        except BaseException:
            # The client does not number anew after a refusal, and goes on trying after everything else.
            cluster.doubtful = True
            raise
    return Place(done.partition, done.offset)


async def _find(producer: AIOKafkaProducer, topic: str) -> None:
    """Return when the topic is known. The client by itself would look for one that is not there until it times out."""
    client = producer.client
    client.add_topic(topic)
    for _ in range(LOOKS):
        if client.cluster.partitions_for_topic(topic):
            return
        if not await client.force_metadata_update():
            raise KafkaConnectionError("no broker answers")
        if topic in client.cluster.unauthorized_topics:
            raise TopicAuthorizationFailedError(topic)
        await asyncio.sleep(PAUSE)
    raise _Absent


async def _close(cluster: _Cluster) -> None:
    with connecting(cluster.way):
        await end(cut(cluster.producer))


def _absent(brokers: Brokers, record: Record) -> StepError:
    text = f"{brokers} has no topic '{record.topic}', or this user may not see it; make it first"
    return StepError(ErrorType.BROKER, text, reason="NoSuchTopic", retriable=False)


def _error_of(brokers: Brokers, record: Record, way: Way, error: BaseException) -> StepError:
    match error:
        case TopicAuthorizationFailedError() | ClusterAuthorizationFailedError():
            text = f"{brokers} does not let this user write to topic '{record.topic}'"
            return StepError(ErrorType.BROKER, text, reason="AccessRefused", retriable=False)
        case MessageSizeTooLargeError() | RecordListTooLargeError() | RecordTooLargeError():
            text = f"{brokers} takes no record of this size in topic '{record.topic}'; see its max.message.bytes"
            return StepError(ErrorType.BROKER, text, reason="RecordTooLarge", retriable=False)
        case KafkaTimeoutError():
            text = f"{brokers} did not confirm in time; the record may have arrived"
            return StepError(ErrorType.TIMEOUT, text)
        case KafkaConnectionError():
            return _away(brokers, way.trouble or error)
        case BrokerResponseError():
            text = f"{brokers} refused the record: {cause(error)}"
            return StepError(ErrorType.BROKER, text, reason="Refused", retriable=bool(error.retriable))
        case _:
            return _away(brokers, error)


def _away(brokers: Brokers, error: BaseException) -> StepError:
    match error:
        case PrivateAddress():
            return _connection(brokers, str(error.strerror), "PrivateNetwork", retriable=False)
        case _ if isinstance(error, LOGIN_ERRORS):
            return _connection(brokers, cause(error), "NotLoggedIn", retriable=False)
        case ssl.SSLError():
            return _connection(brokers, cause(error), "Tls")
        case TimeoutError():
            return _connection(brokers, f"no connection within {CONNECT_TIMEOUT:g} s", "NotConnected")
        case _:
            return _connection(brokers, cause(error), "ConnectionLost")


def _connection(brokers: Brokers, why: str, reason: str, *, retriable: bool = True) -> StepError:
    return StepError(ErrorType.CONNECTION, f"{brokers} did not confirm: {why}", reason=reason, retriable=retriable)
