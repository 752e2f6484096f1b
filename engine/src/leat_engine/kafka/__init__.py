"""Kafka: topics of other people, for triggers, and connections, which steps that publish use as well.

With `kinds/kafka` of the runner the only room that imports its client, which costs 12 MB and a tenth of a second:
whoever needs it imports `events` or `connection` when that is known, and `record` at any time. Nothing of Leat's own
goes through Kafka.
"""
