"""The fields of the `publish` kind: a message to a broker. Each broker is a field, of which a step has one."""

from typing import Annotated, Any

from pydantic import Field

from leat_engine.spec.kinds import Outward, Text
from leat_engine.spec.model import Model

ShortText = Annotated[str, Field(max_length=255)]


class Amqp(Model):
    """A message by AMQP 0-9-1, such as RabbitMQ speaks."""

    url: Annotated[str, Field(min_length=1, max_length=8192)]
    """The broker and the virtual host: `amqps://HOST/VHOST`; `amqp://` sends in clear text."""
    username: str | None = None
    """Who connects, instead of the URL's user."""
    password: str | None = None
    """The password, instead of the URL's; here its characters need no escaping."""
    exchange: ShortText = ""
    """The exchange, which exists; the default exchange, which leads to the queue that `routingKey` names, if empty."""
    routing_key: ShortText = ""
    """The routing key."""
    body: Any = None
    """The message: text is sent as it is, anything else as JSON."""
    headers: Annotated[dict[ShortText, Text], Field(max_length=256)] = Field(default_factory=dict)
    """Headers by name."""
    content_type: ShortText | None = None
    """Content type; that of the body unless stated: `application/json`, or `text/plain` for text."""
    persistent: bool = True
    """Whether the broker keeps the message on disk where the queue does."""
    mandatory: bool = True
    """Whether a message that no queue takes is an error. With false it is dropped without a word."""


class Publish(Model):
    """Publishes a message and waits until the broker has confirmed it. The output is `{messageId}`.

    The id of the message is the idempotency key of the step, the same for all its attempts, by which a consumer drops
    what came twice. More, with errors: docs/how-to/databases-brokers-mail.md.
    """

    amqp: Annotated[Amqp, Outward()]
    """A message to an AMQP broker."""
