"""publish steps on a real broker."""

import asyncio
from random import Random
from urllib.parse import urlsplit, urlunsplit

import aiormq
import orjson
import pytest
from aiohttp.test_utils import unused_port
from tests.support.cut import a_wire
from tests.support.queue import until
from tests.support.steps import STEP, a_kind, a_step

from leat_engine.result import Failed, Succeeded
from leat_engine.spec.publish import Publish
from leat_runner.kinds import publish as publishing
from leat_runner.kinds.publish import PublishKind

PUBLISHED = Succeeded({"messageId": STEP.idempotency_key})


@pytest.fixture
async def kind():
    async with a_kind(PublishKind) as kind:
        yield kind


@pytest.fixture
def publish(kind, amqp_url):
    async def publish(*, step=STEP, by=kind, **fields):
        return await by.execute(step, Publish.model_validate({"amqp": {"url": amqp_url, **fields}}))

    return publish


@pytest.fixture
async def channel(amqp_url):
    """A channel of the test's own."""
    connection = await aiormq.connect(amqp_url)
    yield await connection.channel()
    await connection.close()


@pytest.fixture
async def queue(channel):
    """A queue without messages."""
    await channel.queue_declare("orders", durable=True)
    await channel.queue_purge("orders")
    return "orders"


async def taken(channel, queue):
    return await channel.basic_get(queue, no_ack=True)


def failed(outcome):
    assert isinstance(outcome, Failed), outcome
    return outcome.error


def seen(error):
    return error.type, error.reason, error.retriable


async def test_a_message_is_there_when_the_step_has_succeeded(publish, channel, queue):
    assert await publish(routingKey=queue, body={"order": 7}, headers={"tenant": "x", "n": 3, "ok": True}) == PUBLISHED
    message = await taken(channel, queue)
    properties = message.header.properties
    assert orjson.loads(message.body) == {"order": 7}
    assert properties.message_id == STEP.idempotency_key
    assert properties.content_type == "application/json"
    assert properties.delivery_mode == 2
    assert properties.headers == {"tenant": "x", "n": 3, "ok": True, "traceparent": STEP.traceparent}


async def test_text_is_sent_as_it_is(publish, channel, queue):
    await publish(routingKey=queue, body="Åre", contentType="text/csv", persistent=False)
    message = await taken(channel, queue)
    assert (message.body.decode(), message.header.properties.content_type) == ("Åre", "text/csv")
    assert message.header.properties.delivery_mode == 1


async def test_a_second_attempt_sends_the_same_id(publish, channel, queue):
    for attempt in (1, 2):
        await publish(step=a_step(attempt=attempt), routingKey=queue)
    ids = {(await taken(channel, queue)).header.properties.message_id for _ in range(2)}
    assert ids == {STEP.idempotency_key}


async def test_an_exchange_is_used_by_its_routing_key(publish, channel, queue):
    await channel.exchange_declare("shop", exchange_type="topic")
    await channel.queue_bind(queue, "shop", "order.*")
    assert await publish(exchange="shop", routingKey="order.paid", body=1) == PUBLISHED
    assert (await taken(channel, queue)).delivery.routing_key == "order.paid"


async def test_a_message_that_no_queue_takes_is_an_error_unless_it_may_be_dropped(publish):
    error = failed(await publish(exchange="amq.topic", routingKey="nobody"))
    assert seen(error) == ("Broker", "Unroutable", False)
    assert "no queue for a message to exchange 'amq.topic' with routing key 'nobody'" in error.message
    assert await publish(exchange="amq.topic", routingKey="nobody", mandatory=False) == PUBLISHED


async def test_one_steps_mistake_does_not_touch_the_messages_of_others(publish, channel, queue):
    steps = [a_step(idempotency_key=f"run/0/{number}") for number in range(20)]
    calls = [
        publish(step=step, routingKey=queue) if number % 2 else publish(step=step, exchange="absent")
        for number, step in enumerate(steps)
    ]
    outcomes = await asyncio.gather(*calls)
    for number, outcome in enumerate(outcomes):
        if number % 2:
            assert outcome == Succeeded({"messageId": f"run/0/{number}"})
        else:
            assert seen(failed(outcome)) == ("Broker", "NoSuchExchange", False)
    ids = {(await taken(channel, queue)).header.properties.message_id for _ in range(10)}
    assert ids == {f"run/0/{number}" for number in range(1, 20, 2)}


async def test_a_full_queue_is_worth_another_try(publish, channel):
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
    await channel.queue_declare("narrow", arguments=arguments)
    assert await publish(routingKey="narrow") == PUBLISHED
    assert seen(failed(await publish(routingKey="narrow"))) == ("Broker", "NotAccepted", True)
    await taken(channel, "narrow")
    assert await publish(routingKey="narrow") == PUBLISHED


async def test_a_password_may_stand_beside_the_url(publish, amqp_url, queue):
    url = urlsplit(amqp_url)
    bare = urlunsplit(url._replace(netloc=f"{url.hostname}:{url.port}"))
    known = {"url": bare, "username": url.username, "password": url.password}
    assert await publish(**known, routingKey=queue) == PUBLISHED
    error = failed(await publish(**(known | {"password": "hunter/2"}), routingKey=queue))
    assert seen(error) == ("Connection", "NotLoggedIn", False)
    assert "hunter" not in error.message


@pytest.fixture
async def wire(amqp_url):
    """A way to the broker that can be cut and frozen."""
    url = urlsplit(amqp_url)
    async with a_wire(url.port) as wire:
        netloc = f"{url.username}:{url.password}@127.0.0.1:{wire.port}"
        wire.url = urlunsplit(url._replace(netloc=netloc))
        yield wire


async def test_a_connection_that_was_lost_is_replaced(publish, wire, queue):
    assert await publish(url=wire.url, routingKey=queue) == PUBLISHED
    await wire.cut()
    error = failed(await publish(url=wire.url, routingKey=queue))
    assert (error.type, error.retriable) == ("Connection", True)
    await wire.mend()
    assert await publish(url=wire.url, routingKey=queue) == PUBLISHED


async def test_each_message_arrives_wherever_the_connection_is_cut(publish, channel, wire, queue):
    lost = []

    async def tell(number):
        step = a_step(idempotency_key=f"run/0/{number}")
        while isinstance(outcome := await publish(step=step, url=wire.url, routingKey=queue), Failed):
            assert outcome.error.retriable, outcome
            lost.append(outcome.error)

    async def cut():
        for _ in range(25):
            await asyncio.sleep(chance.uniform(0, 0.05))
            await wire.cut()
            await wire.mend()

    chance = Random(7)
    cutting = asyncio.create_task(cut())
    numbers = 0
    while not cutting.done():
        await asyncio.gather(*(tell(numbers + number) for number in range(20)))
        numbers += 20
    await cutting
    ids = set()
    while (message := await taken(channel, queue)).delivery.name == "Basic.GetOk":
        ids.add(message.header.properties.message_id)
    assert ids == {f"run/0/{number}" for number in range(numbers)}
    assert lost


async def test_a_cancel_does_not_wait_for_a_broker_that_says_nothing(publish, wire, queue):
    assert await publish(url=wire.url, routingKey=queue) == PUBLISHED
    wire.freeze()
    step = asyncio.create_task(publish(url=wire.url, routingKey=queue))
    await until(lambda: wire.held, 20)
    step.cancel()
    done, _ = await asyncio.wait({step}, timeout=30)
    assert done
    assert step.cancelled()


async def test_nobody_there_is_worth_another_try(publish):
    error = failed(await publish(url=f"amqp://app:hunter2@127.0.0.1:{unused_port()}/"))
    assert (error.type, error.retriable) == ("Connection", True)
    assert "hunter2" not in error.message


async def test_a_broker_that_says_nothing_is_waited_for_only_so_long(publish, monkeypatch):
    monkeypatch.setattr(publishing, "CONFIRM_TIMEOUT", 0.1)
    closed = asyncio.Event()

    async def silent(reader, writer):
        while await reader.read(1024):
            pass
        writer.close()
        closed.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    error = failed(await publish(url=f"amqp://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
    assert (error.type, error.retriable) == ("Timeout", True)
    await closed.wait()
    server.close()
    await server.wait_closed()


async def test_a_guarded_pool_does_not_reach_private_networks(publish, amqp_url):
    async with a_kind(PublishKind, http_private_networks=False) as guarded:
        error = failed(await publish(by=guarded, url=amqp_url))
        assert seen(error) == ("Connection", "PrivateNetwork", False)


@pytest.mark.parametrize(
    ("fields", "type_", "message"),
    [
        ({"url": "http://broker/"}, "Invalid", "publish.amqp.url: found scheme 'http', expected amqp or amqps"),
        ({"url": "amqps://b/?no_verify_ssl=1"}, "Invalid", "the parameter 'no_verify_ssl' cannot be given"),
        ({"routingKey": "ü" * 200}, "Invalid", "publish.amqp.routingKey: is 400 bytes, and AMQP takes 255"),
        ({"body": "x" * (1024 * 1024 + 1)}, "TooLarge", "the message is 1048577 bytes"),
    ],
)
async def test_what_cannot_be_sent_is_said_before_anybody_is_asked(publish, fields, type_, message):
    error = failed(await publish(**fields))
    assert (error.type, error.retriable) == (type_, False)
    assert message in error.message
