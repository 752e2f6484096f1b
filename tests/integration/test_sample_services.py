"""The samples that need a database, brokers and a mail server, with all of them."""

import asyncio
from urllib.parse import urlsplit

import aiormq
import asyncpg
import pytest
from tests.support.cli import leat
from tests.support.post import a_post
from tests.support.samples import samples


@pytest.fixture
def post():
    with a_post() as post:
        yield post


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
