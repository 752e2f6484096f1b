"""What a session tells a server before it trusts it. The server is a few bytes, as MySQL 9 sends them."""

import asyncio

from tests.support.steps import STEP, a_kind

from leat_engine.result import Failed
from leat_engine.spec.sql import Sql
from leat_runner.kinds.sql import SqlKind

SALT = bytes(range(1, 21))
GREETING = (
    b"\x0a9.7.4\0" + bytes(4) + SALT[:8] + b"\0"
    b"\xff\xf7\xff\x02\x00\xff\xdf\x15" + bytes(10) + SALT[8:] + b"\0caching_sha2_password\0"
)  # fmt: skip
WHOLE_PASSWORD = b"\x01\x04"


def packet(number: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([number]) + payload


async def test_a_password_is_not_encrypted_for_whoever_took_tls_out_of_the_greeting():
    said = asyncio.Queue()

    async def serve(reader, writer):
        writer.write(packet(0, GREETING))
        size = int.from_bytes((await reader.readexactly(4))[:3], "little")
        await reader.readexactly(size)
        writer.write(packet(2, WHOLE_PASSWORD))
        said.put_nowait(await reader.read())  # what asks for a key would be here
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, a_kind(SqlKind) as kind:
        port = server.sockets[0].getsockname()[1]
        for mode in ("prefer", "disable"):
            url = f"mysql://app:hunter2@127.0.0.1:{port}/shop?sslmode={mode}"
            outcome = await kind.execute(STEP, Sql.model_validate({"url": url, "query": "select 1"}))
            assert isinstance(outcome, Failed)
            assert (outcome.error.type, outcome.error.reason) == ("Connection", "Tls")
            assert outcome.error.message.endswith("TLS: this user's first login needs it; leave sslmode=disable out")
            assert await said.get() == b""
