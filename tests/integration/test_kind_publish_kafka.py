"""publish steps on a real Kafka."""

import asyncio

import pytest
from tests.support.queue import until
from tests.support.steps import STEP, a_kind, a_step
from tests.support.topics import Topics

from leat_engine.result import Failed, Succeeded
from leat_engine.spec.brokers import brokers_of
from leat_engine.spec.publish import Publish
from leat_runner.kinds import kafka as clusters
from leat_runner.kinds import publish as publishing
from leat_runner.kinds.publish import PublishKind
from leat_stack import Part, down, up
from leat_stack.daemons import Daemons
from leat_stack.stack import stop

KEY = STEP.idempotency_key


@pytest.fixture
async def kind():
    async with a_kind(PublishKind) as kind:
        yield kind


@pytest.fixture
def publish(kind, kafka):
    async def publish(*, step=STEP, by=kind, **fields):
        return await by.execute(step, Publish.model_validate({"kafka": {"url": kafka.kafka_url, **fields}}))

    return publish


def failed(outcome):
    assert isinstance(outcome, Failed), outcome
    return outcome.error


def seen(error):
    return error.type, error.reason, error.retriable


async def test_a_record_is_there_when_the_step_has_succeeded(publish, topics):
    topic = await topics.make(partitions=1)
    outcome = await publish(topic=topic, key="A-17", value={"order": 7}, headers={"tenant": "x", "n": 3, "ok": True})
    assert outcome == Succeeded({"messageId": KEY, "topic": topic, "partition": 0, "offset": 0})
    (record,) = await topics.records(topic)
    assert (record.key, record.value) == (b"A-17", b'{"order":7}')
    headers = {"tenant": b"x", "n": b"3", "ok": b"true", "idempotency-key": KEY.encode()}
    assert dict(record.headers) == headers | {"traceparent": STEP.traceparent.encode()}


async def test_text_is_sent_as_it_is_and_equal_keys_share_a_partition(publish, topics):
    topic = await topics.make(partitions=4)
    for _ in range(3):
        await publish(topic=topic, key={"customer": 1}, value="Åre")
    records = await topics.records(topic)
    assert {record.value.decode() for record in records} == {"Åre"}
    assert len({record.partition for record in records}) == 1


async def test_a_tombstone_has_a_key_and_no_value(publish, topics):
    topic = await topics.make(**{"cleanup.policy": "compact"})
    assert isinstance(await publish(topic=topic, key="A-17"), Succeeded)
    (record,) = await topics.records(topic)
    assert (record.key, record.value) == (b"A-17", None)


async def test_a_second_attempt_sends_the_same_key_of_the_step(publish, topics):
    topic = await topics.make()
    for attempt in (1, 2):
        await publish(step=a_step(attempt=attempt), topic=topic, value=1)
    keys = [dict(record.headers)["idempotency-key"] for record in await topics.records(topic)]
    assert keys == [KEY.encode()] * 2


async def test_one_steps_mistake_does_not_touch_the_records_of_others(publish, topics):
    topic = await topics.make(partitions=1, **{"cleanup.policy": "compact"})  # it takes no record without a key
    steps = [a_step(idempotency_key=f"run/0/{number}") for number in range(20)]
    keys = [{"key": "k"} if number % 2 else {} for number in range(20)]
    outcomes = await asyncio.gather(
        *(publish(step=step, topic=topic, value=1, **key) for step, key in zip(steps, keys, strict=True))
    )
    for number, outcome in enumerate(outcomes):
        if number % 2:
            assert isinstance(outcome, Succeeded), outcome
        else:
            assert seen(failed(outcome)) == ("Broker", "Refused", False)
    found = {dict(record.headers)["idempotency-key"].decode() for record in await topics.records(topic)}
    assert found == {f"run/0/{number}" for number in range(1, 20, 2)}


async def test_a_topic_that_is_not_there_is_named_at_once(publish, topics, monkeypatch):
    monkeypatch.setattr(clusters, "LOOKS", 2)
    error = failed(await publish(topic=f"{topics.prefix}-absent", value=1))
    assert seen(error) == ("Broker", "NoSuchTopic", False)
    assert f"has no topic '{topics.prefix}-absent'" in error.message
    topic = await topics.make("absent")
    assert isinstance(await publish(topic=topic, value=1), Succeeded)


async def test_a_record_that_is_too_large_for_its_topic_is_not_tried_again(publish, topics):
    topic = await topics.make(**{"max.message.bytes": "1000"})
    assert seen(failed(await publish(topic=topic, value="x" * 2000))) == ("Broker", "RecordTooLarge", False)
    assert isinstance(await publish(topic=topic, value="x" * 100), Succeeded)


async def test_a_password_may_stand_beside_the_url(publish, kafka, topics):
    topic = await topics.make()
    brokers = brokers_of(kafka.kafka_url)
    known = {"url": f"kafka://{brokers.servers[0]}", "username": brokers.username, "password": brokers.password}
    assert isinstance(await publish(**known, topic=topic, value=1), Succeeded)
    error = failed(await publish(**(known | {"password": "hunter2"}), topic=topic, value=1))
    assert seen(error) == ("Connection", "NotLoggedIn", False)
    assert "hunter" not in error.message


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_each_mechanism_logs_in_by_tls(publish, kafka, topics, mechanism):
    topic = await topics.make()
    url = f"{kafka.kafka_tls_url}&mechanism={mechanism}"
    assert isinstance(await publish(url=url, topic=topic, value=1), Succeeded)


async def test_a_broker_whose_certificate_nobody_vouches_for_is_sent_nothing(publish, kafka, topics):
    topic = await topics.make()
    error = failed(await publish(url=kafka.kafka_tls_url.partition("?")[0], topic=topic, value=1))
    assert seen(error) == ("Connection", "Tls", True)
    assert await topics.records(topic) == []


async def test_nobody_there_is_worth_another_try(publish):
    error = failed(await publish(url="kafka://app:hunter2@127.0.0.1:1", topic="x", value=1))
    assert seen(error) == ("Connection", "ConnectionLost", True)
    assert error.message.endswith("did not confirm: it refuses connections")
    assert "hunter2" not in error.message


async def test_a_guarded_pool_does_not_reach_private_networks(publish):
    async with a_kind(PublishKind, http_private_networks=False) as guarded:
        error = failed(await publish(by=guarded, topic="x", value=1))
        assert seen(error) == ("Connection", "PrivateNetwork", False)


@pytest.mark.parametrize(
    ("fields", "type_", "message"),
    [
        ({"url": "http://broker/"}, "Invalid", "publish.kafka.url: expected a URL such as kafkas://HOST:9092"),
        ({"url": "kafkas://b?keyfile=x"}, "Invalid", "the parameter 'keyfile' cannot be given"),
        ({"topic": "a b"}, "Invalid", "publish.kafka.topic: expected letters"),
        ({"value": None}, "Invalid", "publish.kafka.value: is null, which is a tombstone, and needs `key`"),
        ({"value": "x" * (1024 * 1024 + 1)}, "TooLarge", "the message is 1048577 bytes"),
    ],
)
async def test_what_cannot_be_sent_is_said_before_anybody_is_asked(publish, fields, type_, message):
    error = failed(await publish(**({"topic": "x", "value": 1} | fields)))
    assert (error.type, error.retriable) == (type_, False)
    assert message in error.message


@pytest.fixture
async def home(kafka, tmp_path):  # noqa: ARG001  it skips where there can be none
    """The folder of a Kafka of this test's own."""
    home = tmp_path / "stack"
    yield home
    await asyncio.to_thread(down, home)


async def test_each_record_arrives_whatever_befalls_the_broker(home, kind, monkeypatch):
    """Killed and frozen while steps publish: a step that succeeded is there, one that failed may be tried again."""
    monkeypatch.setattr(publishing, "CONFIRM_TIMEOUT", 3.0)
    url = (await asyncio.to_thread(up, home, [Part.KAFKA])).kafka_url
    lost = []
    done = set()

    async def tell(topic, number):
        step = a_step(idempotency_key=f"run/0/{number}")
        fields = Publish.model_validate({"kafka": {"url": url, "topic": topic, "value": number}})
        while isinstance(outcome := await kind.execute(step, fields), Failed):
            assert outcome.error.retriable, outcome
            lost.append(outcome.error)
            await asyncio.sleep(0.1)
        done.add(number)

    async with Topics.at(url) as topics:
        topic = await topics.make()
        for round_, blow in enumerate(("kill", "freeze")):
            steps = [asyncio.create_task(tell(topic, 50 * round_ + number)) for number in range(50)]
            await until(lambda: len(done) > 50 * round_ + 5, 60)  # noqa: B023
            if blow == "kill":
                await asyncio.to_thread(stop, home, [Part.KAFKA], kill=True)
            else:
                Daemons(home).find(Part.KAFKA).suspend()
            before = len(lost)
            if len(done) < len(steps) + 50 * round_:
                await until(lambda: len(lost) > before, 60)  # noqa: B023
            if blow == "freeze":
                Daemons(home).find(Part.KAFKA).resume()
            await asyncio.to_thread(up, home, [Part.KAFKA])
            await asyncio.wait_for(asyncio.gather(*steps), 90)
        keys = [dict(record.headers)["idempotency-key"].decode() for record in await topics.records(topic)]
    assert set(keys) == {f"run/0/{number}" for number in range(100)}


async def test_a_cancel_does_not_wait_for_a_broker_that_says_nothing(home, kind):
    url = (await asyncio.to_thread(up, home, [Part.KAFKA])).kafka_url
    async with Topics.at(url) as topics:
        topic = await topics.make()
        fields = Publish.model_validate({"kafka": {"url": url, "topic": topic, "value": 1}})
        assert isinstance(await kind.execute(STEP, fields), Succeeded)
        Daemons(home).find(Part.KAFKA).suspend()
        step = asyncio.create_task(kind.execute(STEP, fields))
        await asyncio.sleep(0)
        step.cancel()
        done, _ = await asyncio.wait({step}, timeout=30)
        assert done
        assert step.cancelled()
        Daemons(home).find(Part.KAFKA).resume()
