"""Starts the real parts - Postgres, RabbitMQ, an API server, Kafka, MariaDB - for demo, tests and benchmarks.

The law of this room:

- A stack lives in one folder, its home, and nowhere else: data, logs, addresses, process ids. `down` removes it.
- Everything listens on loopback or on a unix socket, on ports of its own. A server that was there is left alone.
- Every process carries its home in its environment, and is signalled only while it does: a stale id hits no stranger.
- Nothing is mocked and nothing is weakened: Postgres and RabbitMQ write to disk, the API server enforces RBAC.
- What is missing on the machine is named together with how to get it.
"""

from leat_stack.endpoints import STANDARD, Endpoints, Part
from leat_stack.errors import StackError
from leat_stack.stack import down, status, up

__all__ = ["STANDARD", "Endpoints", "Part", "StackError", "down", "status", "up"]
