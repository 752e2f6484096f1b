"""What starts runs of a workflow by itself: `spec.triggers`."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from yarl import URL

from leat_engine import limits
from leat_engine.schedule import Cron, known_zone
from leat_engine.spec.brokers import brokers_of, check_topic
from leat_engine.spec.duration import Duration
from leat_engine.spec.model import Model

TRIGGER_NAME = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
SOURCES = ("schedule", "amqp", "kafka")
ONE_SOURCE = "expected exactly one of `schedule`, `amqp` and `kafka`"
_CREDENTIALS = "holds a user or a password, which everybody could read who may read the Workflow; put the whole URL "


def check_url(url: str) -> str:
    """A broker's URL.

    Raises:
        ValueError: It is none.
    """
    parsed = URL(url)
    if parsed.scheme not in {"amqp", "amqps"} or not parsed.host:
        raise ValueError("expected a URL such as amqp://rabbit.shop/vhost, or amqps://")
    if parsed.query_string:  # the client would read files that it names
        raise ValueError("expected a URL without a query: what follows `?` is not supported")
    return url


class Schedule(Model):
    """Runs at certain times."""

    cron: Annotated[str, Field(min_length=1, max_length=200)]
    """Minute, hour, day of month, month and day of week, as Debian's cron reads them (`30 3 * * MON-FRI`); or @hourly,
    @daily (or @midnight), @weekly, @monthly, @yearly (or @annually)."""
    time_zone: Annotated[str, Field(max_length=64)] = "UTC"
    """Zone of these times, such as Europe/Berlin. A time that the clock leaves out in spring is run right after the
    gap; one that it shows twice in autumn is run once. Where the minute or the hour begins with `*`, real time counts:
    nothing in the gap, and both of the hours that are shown twice."""
    on_miss: Literal["skip", "catchUp"] = "skip"
    """What becomes of times at which no run could be started. `skip`: only the newest is run, if it is not older than
    `startingDeadline`. `catchUp`: all are run, the oldest first."""
    starting_deadline: Duration | None = None
    """A time that is older than this is not run any more. With `skip` 5m unless stated, with `catchUp` no limit."""
    overlap: Literal["allow", "forbid", "replace"] = "allow"
    """What happens while an earlier run of the trigger is not over. `allow`: both run. `forbid`: this time is skipped;
    with `catchUp` it waits. `replace`: the earlier run is cancelled."""
    suspend: bool = False
    """No run is started, and none is made up for later."""

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, zone: str) -> str:
        return known_zone(zone)

    @field_validator("cron")
    @classmethod
    def _cron(cls, cron: str) -> str:
        Cron.parse(cron)
        return cron


class SecretKey(Model):
    """A key of a Secret in the Workflow's namespace, which the operator has to be allowed to read."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the Secret."""
    key: Annotated[str, Field(min_length=1, max_length=253)] = "url"
    """Key in it."""


class Amqp(Model):
    """Runs for messages of an AMQP 0.9.1 queue, such as one of RabbitMQ."""

    url: Annotated[str, Field(max_length=2048)] | None = None
    """URL of the broker without credentials, such as amqp://rabbit.shop/vhost; this or `secretRef`."""
    secret_ref: SecretKey | None = None
    """Where the URL is kept, credentials included."""
    queue: Annotated[str, Field(min_length=1, max_length=255)]
    """Name of the queue. It has to be there. Triggers that name the same queue share its messages; for several
    workflows per message bind a queue for each of them. Give it a dead-letter exchange: what fits no run is
    rejected."""
    prefetch: Annotated[int, Field(ge=1, le=1000)] = 20
    """Messages that are turned into runs at the same time, at most."""

    @field_validator("url")
    @classmethod
    def _is_open(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parsed = URL(check_url(url))
        if parsed.user or parsed.password:
            raise ValueError(_CREDENTIALS + "into a Secret, and name that in `secretRef`")
        return url

    @model_validator(mode="after")
    def _one_broker(self) -> Self:
        if (self.url is None) == (self.secret_ref is None):
            raise ValueError("expected exactly one of `url` and `secretRef`")
        return self


class Kafka(Model):
    """Runs for records of a Kafka topic."""

    url: Annotated[str, Field(max_length=2048)] | None = None
    """The brokers without credentials, such as kafka://kafka.shop:9092,kafka-2.shop:9092, or kafkas:// for TLS; this or
    `secretRef`."""
    secret_ref: SecretKey | None = None
    """Where the URL is kept, credentials included: kafkas://USER:PASSWORD@HOST:9092, with `?mechanism=PLAIN` or
    `SCRAM-SHA-256` unless it is `SCRAM-SHA-512`."""
    topic: Annotated[str, Field(min_length=1, max_length=249)]
    """Name of the topic. It has to be there."""
    consumer_group: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """The group whose offsets say what has been dealt with: `leat.NAMESPACE.WORKFLOW.TRIGGER` unless stated. Triggers
    with the same group share the records of the topic; others get all of them."""
    initial_offset: Literal["latest", "earliest"] = "latest"
    """Where a group begins that has committed no offset. `latest`: records that come from now on. `earliest`: all that
    the topic has."""
    prefetch: Annotated[int, Field(ge=1, le=1000)] = 20
    """Records that are turned into runs at the same time, at most."""
    dead_letter_topic: Annotated[str, Field(min_length=1, max_length=249)] | None = None
    """A topic that gets the records that fit no run, as they came, with the headers `leat-trigger` and `leat-record`.
    It has to be there. Unless stated they are skipped."""

    @field_validator("topic", "dead_letter_topic")
    @classmethod
    def _topic(cls, topic: str | None) -> str | None:
        return None if topic is None else check_topic(topic)

    @field_validator("url")
    @classmethod
    def _is_open(cls, url: str | None) -> str | None:
        if url is not None and brokers_of(url).username is not None:
            raise ValueError(_CREDENTIALS + "into a Secret, and name that in `secretRef`")
        return url

    @model_validator(mode="after")
    def _one_cluster(self) -> Self:
        if (self.url is None) == (self.secret_ref is None):
            raise ValueError("expected exactly one of `url` and `secretRef`")
        if self.dead_letter_topic == self.topic:
            raise ValueError("`deadLetterTopic` is the topic itself, so its records would come again for ever")
        return self


class Trigger(Model):
    """One source of runs."""

    name: Annotated[str, Field(pattern=TRIGGER_NAME, max_length=40)]
    """Name of the trigger, unique in the workflow: lower-case letters, digits and `-`, at most 40. It is part of the
    names of its runs."""
    schedule: Schedule | None = None
    """Times at which runs start; this, `amqp` or `kafka`."""
    amqp: Amqp | None = None
    """A queue whose messages start runs."""
    kafka: Kafka | None = None
    """A topic whose records start runs."""
    when: bool | str | None = None
    """A condition on `event`, such as `${ event.body.kind == 'order' }`. A message or record for which it is
    false starts no run and is done with."""
    inputs: Annotated[dict[str, Any], Field(max_length=256)] = Field(default_factory=dict)
    """Inputs of the run. Expressions read `trigger` (`name`, `scheduledAt` in UTC, `localTime`) with a schedule, and
    `event` (`id`, `body`, `headers`, `routingKey`, `exchange`, `contentType`, `timestamp`) with a queue, or (`id`,
    `key`, `value`, `headers`, `topic`, `partition`, `offset`, `timestamp`) with a topic."""
    dedupe: str | None = None
    """What makes a message the same as an earlier one, so that it starts no second run: `${ event.id }` unless stated,
    which is the `message_id` that its publisher gave it, or with a topic where the record lies."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if [self.schedule, self.amqp, self.kafka].count(None) != len(SOURCES) - 1:
            raise ValueError(ONE_SOURCE)
        events_only = [name for name in ("when", "dedupe") if getattr(self, name) is not None]
        if self.schedule is not None and events_only:
            raise ValueError(f"expected no `{events_only[0]}` with a schedule: it speaks of messages")
        return self


Triggers = Annotated[list[Trigger], Field(max_length=limits.TRIGGERS)]
