"""Who asks: the API server says so in headers, and is believed only behind a certificate of its own. Pure.

After the Kubernetes authenticating proxy: `requestheader-*` of the ConfigMap `extension-apiserver-authentication`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import orjson
from multidict import CIMultiDictProxy


@dataclass(frozen=True, slots=True)
class Caller:
    """Who the API server says is asking."""

    user: str
    uid: str
    groups: tuple[str, ...]
    extra: tuple[tuple[str, tuple[str, ...]], ...]

    def spec(self) -> dict[str, Any]:
        """The caller, as the spec of a SubjectAccessReview names one."""
        named: dict[str, Any] = {"user": self.user, "groups": list(self.groups)}
        if self.uid:
            named["uid"] = self.uid
        if self.extra:
            named["extra"] = {name: list(values) for name, values in self.extra}
        return named


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """By what the API server is known, and the names of the headers in which it names the caller.

    Attributes:
        authority: PEM of what issued its certificate; "" when the cluster has no aggregation, so nobody is believed.
        names: Common names that its certificate may have; any when empty.
    """

    authority: str = ""
    names: tuple[str, ...] = ()
    user: tuple[str, ...] = ("X-Remote-User",)
    uid: tuple[str, ...] = ("X-Remote-Uid",)
    group: tuple[str, ...] = ("X-Remote-Group",)
    extra: tuple[str, ...] = ("X-Remote-Extra-",)

    @classmethod
    def of(cls, data: Mapping[str, str]) -> "FrontProxy":
        """Read the data of the ConfigMap. What it does not name is as the API server's flags are documented."""
        usual = cls()

        def listed(key: str, otherwise: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(orjson.loads(data[key])) if data.get(key) else otherwise

        return cls(
            authority=data.get("requestheader-client-ca-file", ""),
            names=listed("requestheader-allowed-names", ()),
            user=listed("requestheader-username-headers", usual.user),
            uid=listed("requestheader-uid-headers", usual.uid),
            group=listed("requestheader-group-headers", usual.group),
            extra=listed("requestheader-extra-headers-prefix", usual.extra),
        )

    def caller(self, certificate: Mapping[str, Any] | None, headers: CIMultiDictProxy[str]) -> Caller | None:
        """The caller, or None when it is not the API server that speaks.

        Args:
            certificate: What the TLS layer has verified against ``authority``, as `ssl.SSLSocket.getpeercert` gives it;
                None when none was shown.
            headers: Of the request.
        """
        if not self.authority or not certificate or (self.names and _common_name(certificate) not in self.names):
            return None
        user = next((headers[name] for name in self.user if headers.get(name)), "")
        if not user:
            return None
        return Caller(
            user=user,
            uid=next((headers[name] for name in self.uid if headers.get(name)), ""),
            groups=tuple(value for name in self.group for value in headers.getall(name, ())),
            extra=tuple(sorted(self._extra(headers).items())),
        )

    def _extra(self, headers: CIMultiDictProxy[str]) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for name, value in headers.items():
            for prefix in self.extra:
                if name.lower().startswith(prefix.lower()):
                    key = unquote(name[len(prefix) :].lower())
                    found[key] = (*found.get(key, ()), value)
        return found


def _common_name(certificate: Mapping[str, Any]) -> str:
    for part in certificate.get("subject", ()):
        for name, value in part:
            if name == "commonName":
                return str(value)
    return ""
