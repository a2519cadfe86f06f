"""URLs of PostgreSQL: one that means the same to the driver, to Procrastinate's and to PostgreSQL's own programs."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

#: Parameters of a connection that only libpq knows.
_LIBPQ_ALONE = (
    *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
    *("tcp_user_timeout", "channel_binding", "gssencmode", "load_balance_hosts", "sslcompression"),
    *("sslcertmode", "sslsni", "require_auth", "fallback_application_name"),
)
_CONNECT_SECONDS = 60.0


def connector(url: str) -> Callable[..., Awaitable[Any]]:
    """How to connect by a URL with libpq's parameters (sslmode, sslrootcert, connect_timeout, several hosts, …)."""
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    seconds = float(given.pop("connect_timeout", 0) or _CONNECT_SECONDS)
    kept = [(name, value) for name, value in given.items() if name not in _LIBPQ_ALONE]
    own = _joined(parts, parts.netloc, kept)

    async def connect(**options: Any) -> Any:
        driver: Any = importlib.import_module("asyncpg")
        return await driver.connect(own, timeout=seconds, **options)

    return connect


def without_password(url: str) -> tuple[str, str]:
    """A URL that anybody may see, and the password that was in it; "" for none."""
    parts = urlsplit(url)
    who, at, where = parts.netloc.rpartition("@")
    user, _, secret = who.partition(":")
    given = parse_qsl(parts.query, keep_blank_values=True)
    also = [value for name, value in given if name == "password"]
    kept = [pair for pair in given if pair[0] != "password"]
    return _joined(parts, f"{user}{at}{where}", kept), (also or [unquote(secret)])[-1]


def _joined(parts: SplitResult, place: str, query: Iterable[tuple[str, str]]) -> str:
    # `urlunsplit` leaves the slashes of an empty place out.
    text = urlencode(list(query), safe="/:,")
    return f"{parts.scheme}://{place}{parts.path}{'?' if text else ''}{text}"
