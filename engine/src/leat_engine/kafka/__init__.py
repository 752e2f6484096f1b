"""Kafka: topics of other people, for triggers, and connections, which steps that publish use as well.

With `kinds/kafka` of the runner the only room that imports its client. Nothing of Leat's own goes through Kafka.
"""

from leat_engine.kafka.events import Events, Record, Subscription

__all__ = ["Events", "Record", "Subscription"]
