"""The queue over RabbitMQ 3.10 and later. The only room that imports an AMQP client.

- ``topology`` declares, and nobody else does.
- ``connection`` keeps a connection open, and gives it up for a new one at the first doubt.
- ``publish`` and ``consume`` each have a connection of their own and know nothing of the other.
- ``events`` consumes queues of other people, for triggers.

Priorities: RabbitMQ 4.3 and later deliver strictly by priority, 4.0 to 4.2 know two levels (5 and above is high),
before 4.0 a quorum queue has none. There, priorities show only in the order in which runners poll the store.
"""

from leat_engine.queue.rabbit.events import Events, Message
from leat_engine.queue.rabbit.queue import RabbitQueue

__all__ = ["Events", "Message", "RabbitQueue"]
