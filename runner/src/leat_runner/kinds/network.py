"""The guard of the private network: which addresses a step may connect to when the operator of the pool says no."""

import asyncio
import errno
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

AZURE_WIRE_SERVER = IPv4Address("168.63.129.16")
"""Serves credentials to virtual machines like 169.254.169.254 does, but from a public range."""

NAT64 = IPv6Network("64:ff9b::/96")
CURRENT_NETWORK = IPv4Network("0.0.0.0/8")
"""Linux connects 0.0.0.0 to the machine itself."""


class PrivateAddress(OSError):
    """The name led to an address that is not of the public internet. An OSError, as the connector expects."""

    def __init__(self) -> None:
        # The address stays out: it would map the inner network for whoever may write workflows.
        super().__init__(errno.EACCES, "the address is private, and this pool forbids steps to reach private networks")


def public_socket(info: tuple[Any, ...]) -> socket.socket:
    """A socket for one resolved address, or no socket at all.

    Called by the connector for the very address that it is about to connect to, after every resolution and redirect, so
    a name that changes its answer between a check and the connection (DNS rebinding) gains nothing.

    Raises:
        PrivateAddress: The address is not of the public internet.
    """
    family, kind, protocol, _, address = info
    if not is_public(address[0]):
        raise PrivateAddress
    return socket.socket(family, kind, protocol)


def is_public(host: str) -> bool:
    """Whether an IP address in text is of the public internet, looking through IPv4 addresses wrapped in IPv6."""
    address = ip_address(host)
    if isinstance(address, IPv6Address):
        wrapped = _wrapped(address)
        if wrapped is not None:
            address = wrapped
    if isinstance(address, IPv4Address) and (address == AZURE_WIRE_SERVER or address in CURRENT_NETWORK):
        return False
    return address.is_global and not address.is_multicast


def _wrapped(address: IPv6Address) -> IPv4Address | None:
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


async def public_hosts(host: str, port: int) -> list[str]:
    """The public addresses that ``host`` leads to, for clients that only take a host; at least one.

    Raises:
        PrivateAddress: All that the name leads to is private.
        OSError: The name is not known.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    public = [str(info[4][0]) for info in found if is_public(str(info[4][0]))]
    if not public:
        raise PrivateAddress
    return public


async def connected(host: str, port: int, *, guarded: bool) -> socket.socket:
    """A connected socket to the first address of ``host`` that answers; with ``guarded`` only to public ones.

    Like `public_socket`, for clients that take a socket instead of a way to make one.

    Raises:
        PrivateAddress: All that the name leads to is private, or none of the public ones answers.
        OSError: Nobody answers, or the name is not known.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    refused: OSError = OSError(errno.EHOSTUNREACH, "the name leads nowhere")
    for info in found:
        try:
            sock = public_socket(info) if guarded else socket.socket(*info[:3])
        except PrivateAddress as error:
            refused = error
            continue
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, info[4])
        except OSError as error:
            sock.close()
            refused = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise refused


class PublicLoop:
    """The loop, for a client that takes neither a socket nor a way to make one: connections are made by the guard."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: Any = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(self, factory: Any, host: str, port: int, **more: Any) -> Any:
        """As a loop does, to a public address.

        Raises:
            PrivateAddress: The host leads nowhere else.
        """
        sock = await connected(host, port, guarded=True)
        named = {"server_hostname": host} if more.get("ssl") else {}
        return await self._loop.create_connection(factory, sock=sock, **more, **named)

    async def create_unix_connection(self, *_: Any, **__: Any) -> Any:
        """Refuse a socket of this machine: it is as private as can be."""
        raise PrivateAddress
