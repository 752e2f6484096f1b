"""The ledger tells the broker of every acknowledgement once, and of nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from leat_engine.queue.rabbit.consume import Ack, Ledger


class Broker:
    """RabbitMQ's rule: a frame must name a tag it still holds; ``multiple`` takes all the lower ones with it."""

    def __init__(self, delivered: int) -> None:
        self.unacknowledged = list(range(1, delivered + 1))

    def hear(self, ack: Ack) -> None:
        assert ack.tag in self.unacknowledged, f"the broker would close the channel over {ack}"
        self.unacknowledged = [
            tag for tag in self.unacknowledged if tag != ack.tag and not (ack.multiple and tag < ack.tag)
        ]


@st.composite
def conversations(draw):
    """How many are delivered, the order in which tags are settled, which are rejected, when the ledger is emptied."""
    tags = draw(st.permutations(range(1, draw(st.integers(1, 30)) + 1)))
    settled = tags[: draw(st.integers(0, len(tags)))]
    repeated = draw(st.lists(st.sampled_from(settled), max_size=5)) if settled else []
    rejected = draw(st.sets(st.sampled_from(settled), max_size=4)) if settled else set()
    flushes = draw(st.sets(st.integers(0, len(settled))))
    return len(tags), [*settled, *repeated], rejected, flushes


@given(conversations())
def test_in_any_order_the_broker_keeps_exactly_what_was_not_settled(conversation):
    delivered, settled, rejected, flushes = conversation
    broker, ledger = Broker(delivered), Ledger()
    for index, tag in enumerate(settled):
        if tag in rejected:
            if ledger.settle(tag):
                broker.hear(Ack(tag, multiple=False))
        else:
            ledger.acknowledge(tag)
        if index in flushes:
            for ack in ledger.take():
                broker.hear(ack)
    for ack in ledger.take():
        broker.hear(ack)
    assert broker.unacknowledged == sorted(set(range(1, delivered + 1)) - set(settled))


def test_a_run_of_acknowledgements_is_one_frame():
    ledger = Ledger()
    for tag in (3, 1, 2, 5):
        ledger.acknowledge(tag)
    assert ledger.take() == [Ack(3, multiple=True), Ack(5, multiple=False)]
    ledger.acknowledge(4)
    assert ledger.take() == [Ack(4, multiple=False)]


def test_a_second_acknowledgement_is_told_to_nobody():
    ledger = Ledger()
    assert ledger.acknowledge(1)
    assert not ledger.acknowledge(1)
    assert ledger.take() == [Ack(1, multiple=False)]
    assert not ledger.acknowledge(1)
    assert ledger.take() == []
