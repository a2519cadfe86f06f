"""Requests that nobody should send, from a seed: to every operation of both listeners, as anybody."""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from ingot.app import App
from ingot.settings import load

#: Texts in the place of names, ids, words and numbers.
EVIL = (
    *("", " ", ".", "..", "../../etc/passwd", "%00", "%0a", "\n", "\r\nX: y", "\x00", "\x1b[2J"),
    *(
        "'",
        '"',
        "';--",
        "%",
        "_",
        "*",
        "(a+)+$",
        "[",
        "\\",
        "/",
        "//",
        "?",
        "#",
        "é",
        "ß",
        "\u202e",
    ),
    *("\ud800", "😀", "null", "true", "-1", "0", "1e309", "NaN", "9" * 30, "2" * 19, "0x10"),
    *("a" * 256, "a" * 5000, "x,y" * 300, "__class__", "{0}", "${jndi:x}", "<b>", "uuid", "self"),
    *("http://127.0.0.1/", "https://[::1", "file:///etc/passwd", "2020-13-45", "in:a,b", "gt:x"),
    *("52:54:00:00:00:01", "10.0.0.0/33", "::/0", "fe80::1%eth0", "255.255.255.255", "detail"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63 - 1, 2**63, -(2**64), 10**40, 0.1, 1e308),
    *([], {}, [[]], [None], {"": ""}, {"a": None}, [1, "a", {}], {"uuid": []}),
)
#: Fields that bodies without a stated form have.
WORDS = (
    *("name", "id", "uuid", "driver", "driver_info", "instance_info", "properties", "extra"),
    *("server", "flavorRef", "imageRef", "networks", "network", "subnet", "port", "cidr"),
    *("project_id", "user", "domain_id", "password", "description", "enabled", "tags", "target"),
    *("inventory", "interfaces", "mac_address", "disks", "cpu", "memory", "boot", "error", "lldp"),
    *("reboot", "rescue", "os-start", "rebuild", "lock", "addTenantAccess", "metadata", "steps"),
    *(
        "op",
        "path",
        "value",
        "traits",
        "resource_class",
        "fixed_ips",
        "ip_address",
        "security_group",
    ),
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
HEADERS = (
    *("X-Auth-Token", "X-Subject-Token", "X-Service-Token", "Content-Type", "Accept", "If-Match"),
    *("X-OpenStack-Ironic-API-Version", "OpenStack-API-Version", "X-Forwarded-Host", "Range"),
    *("X-Forwarded-Proto", "X-Openstack-Request-Id", "Content-Encoding", "X-Roles", "Expect"),
)
VERSIONS = ("1.1", "1.22", "1.61", "1.95", "1.115", "latest", "compute 2.1", "compute 2.96")
BROKEN = (
    *(b"GET / HTTP/0.9\r\n\r\n", b"GET /\r\n\r\n", b"\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00"),
    *(
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n",
        b"FLY / HTTP/1.1\r\n\r\n",
    ),
    *(b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"GET \xff\xfe HTTP/1.1\r\n\r\n"),
    b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    b"GET http://[::1/ HTTP/1.1\r\n\r\n",
    b"GET /" + b"a/" * 9000 + b" HTTP/1.1\r\n\r\n",
    b"GET /?" + b"a=b&" * 9000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 400 + b"\r\n",
)


@dataclass(frozen=True)
class Row:
    """An operation as an outsider sees it."""

    listener: str
    method: str
    path: str
    fields: tuple[str, ...] = ()
    has_body: bool = False


@dataclass(frozen=True)
class Sent:
    """Octets to send. whole: whether they are one request, after which the connection may be used on."""

    listener: str
    data: bytes
    whole: bool


def rows(folder: Path) -> list[Row]:
    """Every operation of both listeners, without those whose answers have no end."""
    app = App(load(None, state=str(folder), listen="127.0.0.1:0"))
    found: list[Row] = []
    for listener, web in (("api", app.api()), ("boot", app.boot())):
        for service in web.services:
            for one in service.operations:
                if "stream" not in one.path:
                    path = service.prefix + one.path
                    names = _names(one.body) + _names(one.query)
                    found.append(Row(listener, one.method, path, names, one.body is not None))
    return found


def _names(shape: Any) -> tuple[str, ...]:
    try:
        return tuple(one.encode_name for one in msgspec.structs.fields(shape))
    except TypeError:
        return ()


@dataclass
class Generator:
    """One stream of requests. tokens: of personas. known: ids and names of what is there."""

    rng: random.Random
    rows: Sequence[Row]
    tokens: Mapping[str, str]
    known: Sequence[str]
    _by_listener: dict[str, list[Row]] = field(default_factory=dict[str, list[Row]])

    def next(self) -> Sent:
        row = self.rng.choice(self.rows)
        if self.rng.random() < 0.01:
            return Sent(row.listener, self.rng.choice(BROKEN), False)
        who = self.rng.choice([*self.tokens, *self.tokens, *self.tokens, "", "bad"])
        method = row.method if self.rng.random() < 0.9 else self.rng.choice(METHODS)
        # Who ends tokens or users leaves nobody to go on.
        if who == "admin" and row.path.startswith("/identity"):
            method = "GET"
        return Sent(row.listener, self._request(row, method, who), True)

    def _request(self, row: Row, method: str, who: str) -> bytes:
        rng = self.rng
        parts = [self._segment() if part.startswith("{") else part for part in row.path.split("/")]
        target = "/".join(parts) or "/"
        if rng.random() < 0.4:
            pairs = [f"{self._quoted(self._field(row))}={self._quoted(self._text())}"
                     for _ in range(rng.randint(1, 3))]  # fmt: skip
            target += "?" + "&".join(pairs)
        body = b"" if method in ("GET", "HEAD", "OPTIONS") else self._body(row)
        headers = [("Host", "x"), ("Content-Length", str(len(body)))]
        if who:
            headers.append(("X-Auth-Token", self.tokens.get(who, "gAAAA-bad")))
        if body:
            headers.append(("Content-Type", "application/json"))
        if rng.random() < 0.7:
            version = rng.choice(VERSIONS)
            headers.append(("X-OpenStack-Ironic-API-Version", version))
            headers.append(("OpenStack-API-Version", version))
        if rng.random() < 0.1:
            value = "".join(c for c in self._text()[:200] if c.isprintable() and c.isascii())
            headers.append((rng.choice(HEADERS[2:]), value))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers)
        return head.encode("ascii", "replace") + b"\r\n" + body

    def _segment(self) -> str:
        return self._quoted(self._text()) or "x"

    def _text(self) -> str:
        rng = self.rng
        if self.known and rng.random() < 0.6:
            return rng.choice(self.known)
        return rng.choice(EVIL)

    @staticmethod
    def _quoted(text: str) -> str:
        return quote(text.encode("utf-8", "surrogatepass"), safe="")

    def _field(self, row: Row) -> str:
        names = row.fields if row.fields and self.rng.random() < 0.8 else WORDS
        return self.rng.choice(names)

    def _body(self, row: Row) -> bytes:
        rng = self.rng
        kind = rng.random()
        if kind < 0.05:
            return rng.choice(
                (
                    b"",
                    b"{",
                    b"[",
                    b"\xff",
                    b"{}" * 9,
                    b"[" * 3000,
                    b'{"a":' * 3000,
                    b'"' + b"a" * 70_000,
                )
            )
        document: Any = {self._field(row): self._value(0) for _ in range(rng.randint(0, 5))}
        if kind < 0.35:
            document = {rng.choice(WORDS): document}
        elif kind < 0.45:
            document = [{"op": rng.choice(("add", "replace", "remove", "test", "x")),
                         "path": "/" + "/".join(rng.choices(WORDS, k=rng.randint(1, 3))),
                         "value": self._value(0)} for _ in range(rng.randint(0, 4))]  # fmt: skip
        text = msgspec.json.encode(_encodable(document))
        if kind > 0.97:
            data = bytearray(text or b"{}")
            data[rng.randrange(len(data))] = rng.randrange(256)
            return bytes(data)
        return text

    def _value(self, depth: int) -> Any:
        rng = self.rng
        kind = rng.random()
        if kind < 0.5:
            return self._text()
        if kind < 0.75 or depth > 3:
            return rng.choice(VALUES)
        if kind < 0.9:
            return {rng.choice(WORDS): self._value(depth + 1) for _ in range(rng.randint(0, 3))}
        return [self._value(depth + 1) for _ in range(rng.randint(0, 3))]


def _encodable(value: Any) -> Any:
    """What JSON can carry: msgspec writes neither halves of characters nor numbers beyond 64 bits."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return msgspec.Raw(str(value).encode())
    if isinstance(value, dict):
        return {_encodable(name): _encodable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    return value


def seeded(seed: int, number: int) -> random.Random:
    """The generator of worker `number`."""
    return random.Random(struct.unpack("<Q", struct.pack("<II", seed, number))[0])
