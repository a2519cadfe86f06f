"""Requests that nobody should send, from a seed: to every operation of both listeners, as anybody."""

from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from ingot.app.build import build
from ingot.services.baremetal import CONSOLE_PATH
from ingot.settings import load
from tests.hostile.templates import BOOT, TEMPLATES

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
#: Numbers as JSON texts that readers disagree about, or cannot hold.
NUMBERS = (
    *("1" + "0" * 400, str(2**63), str(2**63 - 1), str(-(2**63) - 1), str(2**64), "-0", "-0.0"),
    *("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e-999", "1E400", "0.1e1", "1.0", "01"),
    *("9" * 5000, "1." + "3" * 5000, "+1", ".5", "1_000", "0x1f", "2147483648", "1e2", "-"),
)
CONTENT_TYPES = (
    *("application/json", "text/plain", "application/xml", "multipart/form-data; boundary=x"),
    *(
        "application/x-www-form-urlencoded",
        "application/octet-stream",
        "application/json; charset=x",
    ),
    *("application/json; charset=utf-16", "application/openstack-images-v2.1-json-patch", "", "a"),
    *("application/merge-patch+json", "application/json-patch+json", "APPLICATION/JSON;;;", "é"),
)
#: What comes after a websocket's greeting: a text, an endless one, a masked nothing, a close, a reserved code.
FRAMES = (
    *(b"\x81\x85\x00\x00\x00\x00hello", b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff", b"\x00"),
    *(
        b"\x88\x80\x00\x00\x00\x00",
        b"\xff\xff",
        b"\x89\xfe\x00\x7e",
        b"\x81\x05hello",
        b"\x01\x80" * 99,
    ),
    *(
        b"\x82\xfe\x10\x00\x00\x00\x00\x00" + b"\x00" * 4096,
        b"\x81\x82\x00\x00\x00\x00\xff\xfe",
        b"",
    ),
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
    cloud = build(load(None, state=str(folder), listen="127.0.0.1:0"))
    found: list[Row] = []
    for listener, web in (("api", cloud.listeners.api()), ("boot", cloud.listeners.boot())):
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
    """One stream of requests. tokens: of personas. known: ids and names of what is there; things: ids by kind."""

    rng: random.Random
    rows: Sequence[Row]
    tokens: Mapping[str, str]
    known: Sequence[str]
    things: Mapping[str, str] = field(default_factory=dict[str, str])

    def next(self) -> Sent:
        if self.things and self.rng.random() < 0.4:
            return self.spoilt()
        row = self.rng.choice(self.rows)
        if self.rng.random() < 0.01:
            return Sent(row.listener, self.rng.choice(BROKEN), False)
        who = self.rng.choice([*self.tokens, *self.tokens, *self.tokens, "", "bad"])
        method = row.method if self.rng.random() < 0.9 else self.rng.choice(METHODS)
        # Who ends tokens or users leaves nobody to go on.
        if who in ("admin", "system") and row.path.startswith("/identity"):
            method = "GET"
        kind = self.rng.random()
        if kind < 0.01:
            return Sent(row.listener, self._socket(row, who), False)
        if kind < 0.03:
            return Sent(row.listener, self._garbled(self._request(row, method, who)), False)
        return Sent(row.listener, self._request(row, method, who, chunked=kind < 0.08), True)

    def spoilt(self) -> Sent:
        """A good request with one thing in it made wrong."""
        rng = self.rng
        boot = rng.random() < 0.15
        method, path, body = rng.choice(BOOT if boot else TEMPLATES)
        words = {**self.things, "text": f"t{rng.randrange(10**9)}"}
        target, body = fill(path, words), fill(body, words)
        spoil_body = body is not None and rng.random() < 0.85
        if spoil_body:
            body = self._spoil(body)
        elif "=" in target and rng.random() < 0.8:
            head, _, query = target.partition("?")
            pairs = query.split("&")
            at = rng.randrange(len(pairs))
            pairs[at] = f"{pairs[at].partition('=')[0]}={self._quoted(self._evil())}"
            target = head + "?" + "&".join(pairs)
        else:
            parts = target.split("/")
            parts[rng.randrange(1, len(parts))] = self._quoted(self._evil()) or "x"
            target = "/".join(parts)
        text = b"" if body is None else _raw(body)
        kind = (
            "openstack-images-v2.1-json-patch" if method == "PATCH" and "/image" in path else "json"
        )
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n"
        head += f"Content-Type: application/{kind}\r\n"
        if not boot:
            who = rng.choice(("admin", "system") if path.startswith("/baremetal") else ("admin",))
            head += f"X-Auth-Token: {self.tokens.get(who, '')}\r\n"
        version = rng.choice(("1.95", "1.115", "1.61"))
        head += f"X-OpenStack-Ironic-API-Version: {version}\r\nX-OpenStack-Nova-API-Version: 2.96\r\n\r\n"
        return Sent("boot" if boot else "api", head.encode("utf-8", "replace") + text, True)

    def _spoil(self, body: Any) -> Any:
        """One leaf or key of a document replaced, or one added."""
        rng = self.rng
        if isinstance(body, dict) and body and rng.random() < 0.93:
            name = rng.choice(list(body))
            if rng.random() < 0.08:
                return {**body, self._evil() or "k": body[name]}
            return {**body, name: self._spoil(body[name])}
        if isinstance(body, list) and body and rng.random() < 0.93:
            at = rng.randrange(len(body))
            return [*body[:at], self._spoil(body[at]), *body[at + 1 :]]
        kind = rng.random()
        if kind < 0.55:
            return self._evil()
        if kind < 0.75:
            return msgspec.Raw(rng.choice([text for text in NUMBERS if _is_json(text)]).encode())
        return self._value(0)

    def _evil(self) -> str:
        rng = self.rng
        return rng.choice(("\x00", "a\x00b", "\x00" * 9)) if rng.random() < 0.25 else self._text()

    def _socket(self, row: Row, who: str) -> bytes:
        """A websocket's greeting, to the consoles' path or any other, and what nobody should say then."""
        rng = self.rng
        path = rng.choice((CONSOLE_PATH, CONSOLE_PATH, row.path.replace("{", "").replace("}", "")))
        token = self.tokens.get(who, "x") if rng.random() < 0.5 else self._text()
        head = [
            f"GET {path or '/'}?token={self._quoted(token)} HTTP/1.1",
            "Host: x",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Version: {rng.choice((13, 13, 13, 8, 99))}",
            f"Sec-WebSocket-Key: {rng.choice(('dGhlIHNhbXBsZSBub25jZQ==', 'x', ''))}",
            f"Sec-WebSocket-Protocol: {rng.choice(('binary', 'x, binary', ','))}",
            f"Origin: {rng.choice(('http://x', 'null', 'file://'))}",
        ]
        text = "\r\n".join(head).encode("ascii", "replace") + b"\r\n\r\n"
        return text + b"".join(rng.choices(FRAMES, k=rng.randint(0, 4)))

    def _garbled(self, request: bytes) -> bytes:
        """Octets that are not ASCII, or NUL, somewhere in the request; or an end before its time."""
        rng = self.rng
        data = bytearray(request)
        for _ in range(rng.randint(1, 4)):
            data.insert(
                rng.randrange(len(data)), rng.choice((0, 0, 0xFF, 0xC0, 0x0D, 0x0A, 0x7F, 0x09))
            )
        return bytes(data[: rng.randrange(1, len(data))] if rng.random() < 0.3 else data)

    def _request(self, row: Row, method: str, who: str, *, chunked: bool = False) -> bytes:
        rng = self.rng
        parts = [self._segment() if part.startswith("{") else part for part in row.path.split("/")]
        target = "/".join(parts) or "/"
        if rng.random() < 0.4:
            pairs = [f"{self._quoted(self._field(row))}={self._quoted(self._text())}"
                     for _ in range(rng.randint(1, 3))]  # fmt: skip
            target += "?" + "&".join(pairs)
        body = b"" if method in ("GET", "HEAD", "OPTIONS") else self._body(row)
        length = ("Content-Length", str(len(body)))
        headers = [("Host", "x"), ("Transfer-Encoding", "chunked") if chunked else length]
        if who:
            headers.append(("X-Auth-Token", self.tokens.get(who, "gAAAA-bad")))
        if body:
            usual = rng.random() < 0.93
            headers.append(
                ("Content-Type", "application/json" if usual else rng.choice(CONTENT_TYPES))
            )
        if rng.random() < 0.7:
            version = rng.choice(VERSIONS)
            headers.append(("X-OpenStack-Ironic-API-Version", version))
            headers.append(("OpenStack-API-Version", version))
        if rng.random() < 0.1:
            value = "".join(c for c in self._text()[:200] if c.isprintable() and c.isascii())
            headers.append((rng.choice(HEADERS[2:]), value))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers)
        return head.encode("utf-8", "replace") + b"\r\n" + (self._chunks(body) if chunked else body)

    def _chunks(self, body: bytes) -> bytes:
        """The body in chunks of any size; now and then with extensions and trailers."""
        rng, parts = self.rng, list[bytes]()
        while body:
            size = rng.randint(1, 4000)
            note = rng.choice((b"", b"", b";a=b", b';x="y"'))
            parts.append(f"{len(body[:size]):x}".encode() + note + b"\r\n" + body[:size] + b"\r\n")
            body = body[size:]
        return b"".join(parts) + b"0\r\n" + rng.choice((b"", b"", b"X-Trailer: y\r\n")) + b"\r\n"

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
        if 0.85 < kind < 0.95:
            return self._bent(text)
        if kind > 0.97:
            data = bytearray(text or b"{}")
            data[rng.randrange(len(data))] = rng.randrange(256)
            return bytes(data)
        return text

    def _bent(self, text: bytes) -> bytes:
        """JSON that is still one, more or less: other numbers, a key twice, depth, octets that are no UTF-8."""
        rng = self.rng
        name = msgspec.json.encode(rng.choice(WORDS))
        kind = rng.randrange(5)
        if kind == 0:
            value = rng.choice(NUMBERS).encode()
        elif kind == 1:
            depth = rng.choice((20, 24, 25, 26, 60, 300, 1000))
            value = b"[" * depth + b"1" + b"]" * depth
        elif kind == 2:
            depth = rng.choice((20, 24, 25, 26, 60, 300, 1000))
            value = b'{"a":' * depth + b"{}" + b"}" * depth
        elif kind == 3:
            value = rng.choice(
                (b'"\xff\xfe"', b'"a\xc3"', b'"\xed\xa0\x80"', b'"\\ud800"', b'"\\u0000a"')
            )
        else:
            value = msgspec.json.encode(_encodable(self._value(0)))
            return b"{" + name + b":1," + name + b":" + value + b"}"
        pieces = text.split(b":", 1)
        if len(pieces) == 2 and text.startswith(b"{") and rng.random() < 0.5:
            # In the place of some value that was asked for.
            return pieces[0] + b":" + value + b"}"
        return b"{" + name + b":" + value + b"}"

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


def fill(body: Any, words: Mapping[str, str]) -> Any:
    """A template with what its braces name."""
    if isinstance(body, dict):
        return {name: fill(value, words) for name, value in body.items()}
    if isinstance(body, list):
        return [fill(value, words) for value in body]
    if isinstance(body, str):
        return re.sub(r"\{(\w+)\}", lambda found: words.get(found[1], "x"), body)
    return body


def _is_json(text: str) -> bool:
    """Whether strict readers take it: what they do not is refused at the door (see `_bent`)."""
    try:
        return not isinstance(json.loads(text, parse_constant=lambda _: None), type(None))
    except ValueError:
        return False


def _raw(body: Any) -> bytes:
    """As JSON; numbers of any length stand as they are."""
    return msgspec.json.encode(_encodable(body))


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
