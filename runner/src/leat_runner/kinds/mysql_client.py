"""Sessions on MySQL and MariaDB; with their errors and values the only modules that know a client of them.

The client is asyncio's, without prepared statements of the protocol, and says less of an error than the server did.
What it lacks is here: TLS that is not done without, SQLSTATEs, and an end of what a session was told.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from aiomysql import Connection
from pymysql.constants import CLIENT
from pymysql.err import Error
from pymysql.protocol import MysqlPacket

from leat_runner.kinds.address import Address
from leat_runner.kinds.kept import IDLE
from leat_runner.kinds.network import public_hosts
from leat_runner.kinds.statement import CLOSE_TIMEOUT, CONNECT_TIMEOUT, CONNECTIONS

BROKEN = (OSError, Error, RuntimeError)
"""What the client raises on a session that is of no use any more. A TimeoutError is an OSError, and of a server that it
does not understand it says RuntimeError."""

_RESET = 0x1F
"""COM_RESET_CONNECTION: rolls back, and forgets variables, settings, temporary tables and prepared statements."""

_READABLE = frozenset({"mysql_clear_password", "mysql_old_password"})
"""Ways to log in by which others on the way would get the password, or as good as that."""

SSL_MODES = ("prefer", "disable", "require", "verify-ca", "verify-full")
"""As on PostgreSQL; the first is the usual one."""


class Refusal(Exception):
    """The server's word, as it came: its message may quote values."""

    def __init__(self, number: int, state: str, text: str) -> None:
        super().__init__(number)
        self.number = number
        self.state = state
        self.text = text


class NoTls(Exception):
    """There is no TLS, and the URL asks for it, or the server for a password that others on the way could read."""

    def __init__(self, message: str = "the server has none, and would have to") -> None:
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a statement gives: columns with the numbers of their types, or how many rows it changed."""

    columns: list[tuple[str, int]]
    changed: int


class _Packet(MysqlPacket):  # type: ignore[misc]
    """A packet that keeps the SQLSTATE of an error."""

    def raise_for_error(self) -> None:
        data: bytes = self.get_all_data()
        told = data[3:4] == b"#"
        raise Refusal(
            number=int.from_bytes(data[1:3], "little"),
            state=data[4:9].decode("ascii", "replace") if told else "HY000",
            text=data[9 if told else 3 :].decode("utf-8", "replace"),
        )


class Session(Connection):  # type: ignore[misc]
    """One session of a user. Its texts are UTF-8."""

    _reader: Any
    _writer: Any

    def __init__(self, address: Address, host: str, context: ssl.SSLContext | None) -> None:
        super().__init__(
            host=host,
            port=address.port,
            user=address.username,
            # The client would write it in Latin-1.
            password=(address.password or "").encode().decode("latin-1"),
            db=unquote(address.path.removeprefix("/")) or None,
            charset="utf8mb4",
            # An UPDATE tells how many rows it found, not how many of them were other before: as on PostgreSQL.
            client_flag=CLIENT.FOUND_ROWS,
            ssl=context,
            conv={},
            autocommit=None,
            program_name="leat",
        )
        self._address = address
        self.since = 0.0
        """When it was used last, by the clock of the loop."""

    @property
    def server_public_key(self) -> None:
        """The client reads it when MySQL wants the whole password without TLS, and would ask for a key: anybody's."""
        raise NoTls("this user's first login needs it; leave sslmode=disable out")

    @server_public_key.setter
    def server_public_key(self, key: None) -> None:
        """Know none, as the client begins with."""

    @property
    def usable(self) -> bool:
        """Whether nothing is known against its being used: it may have ended on the server while it was idle."""
        return not self.closed and not self._reader.eof_received and self._reader.exception() is None

    @property
    def is_mariadb(self) -> bool:
        """Whether it is MariaDB, which does most things like MySQL."""
        return "mariadb" in self.get_server_info().lower()

    async def run(self, text: str) -> None:
        """Execute a statement of ours, which gives no rows."""
        await self.query(text)

    async def ask(self, text: str) -> Asked:
        """Execute a statement. Its rows, if it gives any, are taken by `next_row`."""
        await self.query(text, unbuffered=True)
        return self._asked()

    async def next_row(self) -> tuple[str | bytes | None, ...] | None:
        """The next row, as the server writes its values, or None behind the last one."""
        row: tuple[str | bytes | None, ...] | None = await self._result._read_rowdata_packet_unbuffered()  # noqa: SLF001
        return row

    async def has_more_rows(self) -> bool:
        """Whether there is another result with rows, as a procedure may give; one without is read."""
        while self._result.has_next:
            await self._read_query_result(unbuffered=True)
            if self._asked().columns:
                return True
        return False

    def _asked(self) -> Asked:
        result = self._result
        return Asked([(each[0], each[1]) for each in result.description or ()], result.affected_rows or 0)

    async def reset(self) -> None:
        """Forget all that it was told."""
        await self._execute_command(_RESET, b"")
        await self._read_ok_packet()

    def close(self) -> None:
        """End it here, at once: without this a server that says nothing could keep its TLS open."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._writer = self._reader = None

    async def leave(self) -> None:
        """Say goodbye, so that the server counts no client that was lost, and close it."""
        writer = self._writer
        if writer is None:
            return
        try:
            with suppress(*BROKEN):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self.ensure_closed()
                    await writer.wait_closed()
        finally:
            self.close()

    async def _read_packet(self, packet_type: type[MysqlPacket] = _Packet) -> Any:
        return await super()._read_packet(packet_type)

    async def _request_authentication(self) -> None:
        # The address is connected to. From here on the name counts, for which the certificate has to be valid.
        self._host = self._address.host
        if not self.server_capabilities & CLIENT.SSL:
            # Without this the client would go on in clear text, whoever it is that takes TLS out of the greeting.
            if _mode(self._address) not in ("prefer", "disable"):
                raise NoTls
            self.client_flag &= ~CLIENT.SSL  # it would promise a handshake that does not come
        if self._server_auth_plugin in _READABLE and not self.client_flag & CLIENT.SSL:
            raise NoTls
        try:
            await super()._request_authentication()
        except BaseException:
            self.close()
            raise

    async def _process_auth(self, plugin_name: bytes, auth_packet: Any) -> None:
        # The client gives the password to whoever asks for it.
        if plugin_name.decode("latin-1") in _READABLE and not self._secure:
            raise NoTls
        await super()._process_auth(plugin_name, auth_packet)


async def connected(address: Address, context: ssl.SSLContext | None, *, public_only: bool) -> Session:
    """A new session, within `CONNECT_TIMEOUT`.

    Raises:
        PrivateAddress: It may not be reached.
        Refusal: The server does not let the user in.
        NoTls: It has no TLS.
        OSError, Error, RuntimeError: Nobody answers, or somebody else.
    """
    async with asyncio.timeout(CONNECT_TIMEOUT):
        hosts = await public_hosts(address.host, address.port) if public_only else [address.host]
        for host in hosts[:-1]:
            try:
                return await _opened(Session(address, host, context))
            except BROKEN:
                continue  # the last one's failure is told
        return await _opened(Session(address, hosts[-1], context))


async def _opened(session: Session) -> Session:
    try:
        await session._connect()  # noqa: SLF001  the client's own function connects no class of ours
    except BaseException:
        session.close()
        raise
    return session


def tls_of(address: Address) -> ssl.SSLContext | None:
    """How the way there is secured, by ``sslmode`` and ``sslrootcert`` of the URL; None is in clear text.

    Reads a file.

    Raises:
        ValueError: There is no such mode.
        OSError: The certificates cannot be read.
    """
    mode = _mode(address)
    if mode not in SSL_MODES:
        raise ValueError(f"found sslmode '{mode[:40]}', expected one of {', '.join(SSL_MODES)}")
    if mode == "disable":
        return None
    context = ssl.create_default_context(cafile=dict(address.query).get("sslrootcert"))
    context.check_hostname = mode == "verify-full"
    if not mode.startswith("verify"):
        context.verify_mode = ssl.CERT_NONE
    return context


def _mode(address: Address) -> str:
    return dict(address.query).get("sslmode", SSL_MODES[0])


class Sessions:
    """The sessions of one user on one database: at most `CONNECTIONS`, kept for a while when nobody uses them."""

    def __init__(self, address: Address, context: ssl.SSLContext | None, *, public_only: bool) -> None:
        self._address = address
        self._context = context
        self._public_only = public_only
        self._room = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[Session] = []

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[Session]:
        """Yield a session that nobody else uses; afterwards it knows nothing of what was done in it."""
        async with self._room:
            session = self._rested() or await self._connected()
            try:
                yield session
            finally:
                await self._give_back(session)

    async def cut(self, session: Session) -> None:
        """End a session, and on the server what is executed in it: it would go on otherwise, to the end.

        What does not succeed within `CLOSE_TIMEOUT` the server does when it finds nobody to answer to.
        """
        session.close()
        number = session.thread_id()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                other = await self._connected()
                try:
                    await other.run(f"kill {number}")
                finally:
                    await other.leave()
        except (*BROKEN, Refusal, NoTls):
            return  # there is no such session any more, or no server

    async def close(self) -> None:
        """Close what is idle."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(session.leave() for session in idle))

    def _rested(self) -> Session | None:
        while self._idle:
            session = self._idle.pop()
            if session.usable:
                return session
            session.close()
        return None

    async def _connected(self) -> Session:
        return await connected(self._address, self._context, public_only=self._public_only)

    async def _give_back(self, session: Session) -> None:
        """Keep it if it can be reset; what the step has come to stays."""
        if session.closed:
            return
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await session.reset()
        except (*BROKEN, Refusal):
            session.close()
        except BaseException:
            session.close()
            raise
        else:
            session.since = now
            self._idle.append(session)
        while self._idle and self._idle[0].since < now - IDLE:
            self._idle.pop(0).close()
