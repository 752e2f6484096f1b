"""The samples that need a database, brokers and a mail server, with all of them."""

import asyncio
from email import message_from_bytes, policy
from urllib.parse import urlsplit

import aiormq
import asyncpg
import pytest
from aiohttp.test_utils import unused_port
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from tests.support.cli import leat
from tests.support.samples import samples


class Post(Message):
    """Keeps the mails."""

    def __init__(self):
        super().__init__()
        self.letters = []

    def prepare_message(self, _session, envelope):
        return message_from_bytes(envelope.content, policy=policy.default)

    def handle_message(self, message):
        self.letters.append(message)


@pytest.fixture
def post():
    post = Post()
    port = unused_port()  # the controller connects to the port that it was given
    controller = Controller(post, hostname="127.0.0.1", port=port)
    controller.start()
    post.url = f"smtp://127.0.0.1:{port}"
    yield post
    controller.stop()


async def test_the_payment_is_written_told_and_confirmed(postgres_dsn, amqp_url, post):
    (sample,) = samples("services")
    broker = await aiormq.connect(amqp_url)
    channel = await broker.channel()
    queue = (await channel.queue_declare(exclusive=True)).queue
    await channel.queue_bind(queue, "amq.topic", "order.*")
    secrets = {"LEAT_SECRET_SHOP_DATABASE": postgres_dsn, "LEAT_SECRET_SHOP_BROKER": amqp_url}
    arguments = ("run", str(sample.file), "-o", "json", "-i", f"mail={post.url}")
    done = await asyncio.to_thread(leat, *arguments, env=secrets)
    assert (done.code, done.json["phase"]) == (0, sample.phase), done.err
    assert done.json["output"] == sample.output
    assert not any(secret in done.out + done.err for secret in (*secrets.values(), urlsplit(amqp_url).password))

    database = await asyncpg.connect(postgres_dsn)
    (row,) = await database.fetch("select * from payment")
    message = await channel.basic_get(queue, no_ack=True)
    (letter,) = post.letters
    run = row["key"].split("/")[0]
    assert message.header.properties.message_id.startswith(run)
    assert letter["Message-ID"].startswith(f"<{run}.")
    assert letter.get_content().strip() == "Thank you for 12.50 EUR."
    await database.close()
    await broker.close()


async def test_the_order_is_announced_in_its_topic(kafka, topics):
    (sample,) = samples("kafka")
    topic = await topics.make("paid")
    secrets = {"LEAT_SECRET_SHOP_KAFKA": kafka.kafka_url}
    arguments = ("run", str(sample.file), "-o", "json", "-i", f"topic={topic}")
    done = await asyncio.to_thread(leat, *arguments, env=secrets)
    assert (done.code, done.json["phase"]) == (0, sample.phase), done.err
    assert done.json["output"] == sample.output
    assert not any(secret in done.out + done.err for secret in (kafka.kafka_url, urlsplit(kafka.kafka_url).password))
    (record,) = await topics.records(topic)
    assert (record.key, record.value) == (b"A-17", b'{"kind":"paid","id":"A-17"}')
    assert dict(record.headers)["source"] == b"shop"
