"""Proxies before us: who may say for whom a request comes, and by which address.

Of a peer that is not among the configured ones nothing is believed: its `Forwarded`, `X-Forwarded-*` and `X-Real-Ip`
are taken away before anybody reads them. Of the others X-Forwarded-For (the last address that is no proxy's),
-Proto and -Host count, where they are what they should be.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

from ingot.kit.http.peers import Networks

Header = tuple[bytes, bytes]

_FOR, _PROTO, _HOST = b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"
_TOLD = b"x-forwarded-"
#: Added where a peer that nobody vouches for says that it passes a request on: then the peer is not who asks.
PASSED_ON = "x-ingot-passed-on"
_OTHERS = (b"forwarded", b"x-real-ip")
_SCHEMES = {b"http": "http", b"https": "https"}
_HOST_FORM = re.compile(
    rb"[A-Za-z0-9._-]{1,255}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?"
)


class Proxies:
    """networks: addresses or CIDRs; ValueError for what is neither."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = Networks(networks)

    def seen(self, scope: Any) -> Any:
        """The request's scope as it is to be understood."""
        headers: list[Header] = scope["headers"]
        if type(headers) is not list:  # servers give any iterable, also one that ends
            headers = [(name, value) for name, value in headers]
            scope = {**scope, "headers": headers}
        if not any(name.startswith(_TOLD) or name in _OTHERS for name, _ in headers):
            return scope
        told = {name: value for name, value in headers if name in (_FOR, _PROTO, _HOST)}
        kept = [
            (name, value)
            for name, value in headers
            if not (name.startswith(_TOLD) or name in _OTHERS)
        ]
        scope = {**scope, "headers": kept}
        peer, port = scope.get("client") or ("", 0)
        scope["client"] = (peer, port)
        if not self.trusts(peer):
            kept.append((PASSED_ON.encode(), b"1"))
            return scope
        scope["client"] = (self._origin(told.get(_FOR, b""), peer), port)
        scheme = _last(told.get(_PROTO, b"")).lower()
        if scheme in _SCHEMES:
            kept.append((_PROTO, scheme))
        host = _last(told.get(_HOST, b""))
        if _HOST_FORM.fullmatch(host):
            kept.append((_HOST, host))
        return scope

    def trusts(self, text: str) -> bool:
        """Whether it is the address of a configured proxy."""
        return self._networks.hold(text)

    def _origin(self, told: bytes, peer: str) -> str:
        """Whoever is farthest from us of those that proxies of ours vouch for."""
        found = peer
        for part in reversed(told.decode("latin-1").split(",")):
            text = part.strip()
            try:
                ipaddress.ip_address(text)
            except ValueError:
                return found
            found = text
            if not self.trusts(text):
                return found
        return found


def _last(value: bytes) -> bytes:
    return value.rsplit(b",", 1)[-1].strip()


__all__ = ["PASSED_ON", "Proxies"]
