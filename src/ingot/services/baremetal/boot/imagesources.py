"""Images that no image service keeps: at plain URLs, and in files under folders that the operator allows.

    instance_info.image_source              http://…, https://… or file:///…
    image_os_hash_algo, image_os_hash_value  or image_checksum: the digest, or the URL of a checksum file
    image_disk_format                        raw (the default at URLs) or qcow2

What is at a URL is fetched and checked by the agent; here it is only asked whether it is there and how
large it is. A file is looked into as an uploaded image is (its real format, no backing files), its digest
is computed where the order names none, and the agent fetches it from the provisioning listener under a
sealed URL. Nothing is read before its real path (links followed) is found inside an allowed folder.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import stat
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import msgspec

from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.db.vault import Vault
from ingot.kit.faults import Fault, Invalid, Kind, Missing
from ingot.kit.http import client as http_client
from ingot.kit.http import untrusted
from ingot.kit.http.egress import Egress, split
from ingot.kit.http.files import send_file
from ingot.kit.tasks.clock import Clock, SystemClock
from ingot.services.baremetal.types import ImageFacts
from ingot.services.image import inspect_image

if TYPE_CHECKING:
    import aiohttp

FORMATS = ("raw", "qcow2")
#: Digests by their number of hexadecimal digits; MD5 is not taken.
DIGESTS = {64: "sha256", 96: "sha384", 128: "sha512"}
TIMEOUT_SECONDS = 30.0
_MOST_CHECKSUM_BYTES = 1 << 20
_MOST_REDIRECTS = 5
_HEX = re.compile(r"[0-9a-fA-F]+\Z")
#: Folders of the system itself, whatever is allowed.
_NEVER = tuple(Path(name) for name in ("/boot", "/dev", "/etc", "/proc", "/run", "/sys"))


class _Ticket(msgspec.Struct):
    """What a sealed URL opens, until when (seconds since 1970)."""

    path: str
    until: float


@dataclass(frozen=True)
class ImageSources:
    """Turns an order's source into what the agent is told.

    folders: where file:// images may be. base_url: the provisioning listener. probe: whether URLs are asked
    for size and presence before the machine is touched. most_bytes: larger images are refused. egress: whom
    this process asks for them.
    """

    folders: Sequence[Path] = ()
    base_url: str = ""
    vault: Vault | None = None
    clock: Clock = field(default_factory=SystemClock)
    probe: bool = False
    most_bytes: int = 1 << 40
    egress: Egress = field(default_factory=Egress)
    _digests: dict[tuple[str, int, int], str] = field(
        default_factory=dict[tuple[str, int, int], str], repr=False, compare=False
    )

    async def facts(self, source: str, info: Mapping[str, Any], ttl: float) -> ImageFacts:
        """The image that an order names. Faults name what is wrong with it and what to change."""
        scheme = check(source, info, self.egress, self.folders)
        declared = info.get("image_disk_format")
        if scheme == "file":
            return await self._file(source, info, ttl)
        algo, value = await self._digest(source, info)
        size = await self._size(source) if self.probe else None
        self._check_size(source, size)
        return ImageFacts(
            id=untrusted.without_passwords(source),
            url=source,
            disk_format=str(declared or "raw"),
            hash_algo=algo,
            hash_value=value,
            size=size,
            container_format=str(info.get("image_container_format") or "bare"),
        )

    def operations(self) -> list[Operation]:
        """Rows of the provisioning listener: files by sealed URL."""
        return [Operation("GET", "/image-files/{token}", self._send, rule=None)]

    # -- digests -----------------------------------------------------------------------------

    async def _digest(self, source: str, info: Mapping[str, Any]) -> tuple[str, str]:
        found = await self._named_digest(source, info)
        if found is None:
            raise Invalid(
                "instance_info has no checksum for the image.",
                next_action="Set image_os_hash_algo and image_os_hash_value, or image_checksum.",
            )
        return found

    async def _named_digest(self, source: str, info: Mapping[str, Any]) -> tuple[str, str] | None:
        """Algorithm and value that the order names, fetched where it names a URL."""
        algo, value = _named(info)
        if not value:
            return None
        if value.startswith(("http://", "https://")):
            self.egress.url(value, "The checksum file's URL")
            found = _from_file(await self._fetch(value), source, value)
            if (algo or DIGESTS.get(len(found))) != DIGESTS.get(len(found), ""):
                # Not what it has: the URL may be of something that whoever named it may not read.
                raise Invalid(
                    f"The checksum file {untrusted.words(value)} has no digest of {algo or 'SHA-256, SHA-384 or SHA-512'}.",
                    next_action="Give the digest itself, or a file that has one.",
                )
            value = found
        return _digest_of(algo, value), value.lower()

    # -- URLs --------------------------------------------------------------------------------

    async def _fetch(self, url: str) -> str:
        """A checksum file."""
        async with (
            self._asking("checksum file", url) as http,
            http.get(url, max_redirects=_MOST_REDIRECTS) as reply,
        ):
            if reply.status != 200:
                raise _not_there("checksum file", url, f"HTTP {reply.status}")
            data = await http_client.whole(reply, _MOST_CHECKSUM_BYTES)
        return data.decode(errors="replace")

    async def _size(self, url: str) -> int | None:
        """Bytes behind a URL; None where the server does not tell."""
        async with (
            self._asking("image", url) as http,
            http.head(url, allow_redirects=True, max_redirects=_MOST_REDIRECTS) as reply,
        ):
            if reply.status in (405, 501):
                return None
            if reply.status != 200:
                raise _not_there("image", url, f"HTTP {reply.status}")
            length = reply.headers.get("Content-Length", "")
        known = length.isascii() and length.isdecimal() and len(length) < 20
        return int(length) if known and not _packed(reply) else None

    @asynccontextmanager
    async def _asking(self, what: str, url: str) -> AsyncGenerator[aiohttp.ClientSession]:
        """A session for one question; what goes wrong with it is told as that."""
        await http_client.ready()
        import aiohttp  # loaded by then (`outgoing`)

        try:
            async with http_client.session(
                connector=self.egress.connector(limit=1),
                timeout=aiohttp.ClientTimeout(TIMEOUT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
            ) as http:
                yield http
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            raise _not_there(what, url, http_client.why(error)) from None

    def _check_size(self, source: str, size: int | None) -> None:
        if size is not None and size > self.most_bytes:
            raise Invalid(
                f"The image {untrusted.words(source)} has {size} bytes, more than the {self.most_bytes} that are taken.",
                next_action="Take a smaller image, or raise [baremetal] max_image_bytes.",
            )
        if size == 0:
            raise Invalid(f"The image {untrusted.words(source)} is empty.")

    # -- files -------------------------------------------------------------------------------

    async def _file(self, source: str, info: Mapping[str, Any], ttl: float) -> ImageFacts:
        # Before anything of the file is read: it may be a device without an end.
        path, size, moment = await asyncio.to_thread(self._allowed, source)
        self._check_size(source, size)
        if not self.base_url or self.vault is None:
            raise Invalid(
                f"The image {source} cannot be served: there is no provisioning listener.",
                next_action="Set [provisioning] listen.",
            )
        declared = info.get("image_disk_format")
        shape = str(declared or await asyncio.to_thread(_format, path))
        await asyncio.to_thread(inspect_image, path, shape)
        named = await self._named_digest(source, info)
        algo, value = named or ("sha512", await self._computed(path, size, moment))
        until = self.clock.now().timestamp() + ttl
        token = self.vault.seal(msgspec.json.encode(_Ticket(str(path), until)).decode())
        return ImageFacts(
            id=source,
            url=f"{self.base_url.rstrip('/')}/image-files/{token}",
            disk_format=shape,
            hash_algo=algo,
            hash_value=value,
            size=size,
        )

    def _allowed(self, source: str) -> tuple[Path, int, int]:
        """The file's real path, size and moment of change; Invalid unless it is in an allowed folder."""
        path = _path_of(source).resolve()
        _check_folder(source, path, [folder.resolve() for folder in self.folders])
        try:
            state = path.stat()
        except OSError as error:
            raise Invalid(f"The image {source} cannot be read: {error.strerror}.") from None
        if not stat.S_ISREG(state.st_mode):
            raise Invalid(f"The image {source} is no plain file.")
        return path, state.st_size, state.st_mtime_ns

    async def _computed(self, path: Path, size: int, moment: int) -> str:
        """SHA-512 of a file, kept until it changes."""
        key = (str(path), size, moment)
        if key not in self._digests:
            while len(self._digests) >= 100:
                self._digests.pop(next(iter(self._digests)))
            self._digests[key] = await asyncio.to_thread(_sha512, path)
        return self._digests[key]

    async def _send(self, call: Call) -> Reply:
        try:
            assert self.vault is not None
            ticket = msgspec.json.decode(self.vault.open(call.params["token"]), type=_Ticket)
        except (Fault, AssertionError, msgspec.DecodeError):
            raise Missing("There is no such image.") from None
        if self.clock.now().timestamp() > ticket.until:
            raise Missing("There is no such image.")
        path, _, _ = await asyncio.to_thread(self._allowed, f"file://{ticket.path}")
        return await send_file(call, path)


def check(source: str, info: Mapping[str, Any], egress: Egress, folders: Sequence[Path]) -> str:
    """What can be said of an order without asking anybody: its scheme, or Invalid with what is wrong.

    The same at validation and in the deploy.
    """
    scheme = split(source, "instance_info.image_source").scheme
    if scheme not in ("http", "https", "file"):
        raise Invalid(
            f"instance_info.image_source {untrusted.words(source)}: images by {scheme}:// cannot be deployed.",
            next_action="Use http://, https://, file:// or the id of an image.",
        )
    declared = info.get("image_disk_format")
    if declared and declared not in FORMATS:
        raise Invalid(
            f"instance_info.image_disk_format is {untrusted.words(str(declared))}.",
            next_action=f"Only {' and '.join(FORMATS)} can be deployed.",
        )
    if scheme == "file":
        path = Path(os.path.normpath(_path_of(source)))
        _check_folder(source, path, folders)
    else:
        egress.url(source, "instance_info.image_source")
    algo, value = _named(info)
    if value.startswith(("http://", "https://")):
        egress.url(value, "The checksum file's URL")
    elif value:
        _digest_of(algo, value)
    return scheme


def _named(info: Mapping[str, Any]) -> tuple[str, str]:
    """Algorithm and checksum as the order has them; "" for what it has not."""
    value = info.get("image_os_hash_value") or info.get("image_checksum") or ""
    return str(info.get("image_os_hash_algo") or ""), str(value)


def _digest_of(algo: str, value: str) -> str:
    """The algorithm of a digest; Invalid when it is none that is taken."""
    known = DIGESTS.get(len(value)) if _HEX.match(value) else None
    if known is None or (algo and algo != known):
        raise Invalid(
            f"instance_info names the checksum {untrusted.words(value, 140)!r}"
            f"{f' as {untrusted.words(algo, 40)}' if algo else ''}: that is none.",
            next_action="Give SHA-256, SHA-384 or SHA-512 in hexadecimal digits; MD5 is not taken.",
        )
    return known


def _path_of(source: str) -> Path:
    parts = split(source, "instance_info.image_source")
    named = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not named.startswith("/") or "\0" in named:
        raise Invalid(f"instance_info.image_source {untrusted.words(source)} is no file:///path.")
    return Path(named)


def _check_folder(source: str, path: Path, folders: Sequence[Path]) -> None:
    inside = any(path.is_relative_to(folder) for folder in folders)
    if not inside or any(path.is_relative_to(folder) for folder in _NEVER):
        raise Invalid(
            f"The image {untrusted.words(source)} is not in a folder from which images may be taken.",
            next_action="Put it into one of [baremetal] file_images.",
        )


def _from_file(text: str, source: str, url: str) -> str:
    """The digest of the image in a checksum file: alone, `digest  name`, or `SHA256 (name) = digest`."""
    name = unquote(urlsplit(source).path).rsplit("/", 1)[-1]
    lines = [line.strip() for line in text.splitlines() if line.strip() and line[0] not in "#-"]
    if len(lines) == 1 and _HEX.match(lines[0]):
        return lines[0]
    for line in lines:
        bsd = re.fullmatch(r"\w+ ?\((.+)\) ?= ?([0-9a-fA-F]+)", line)
        pair = (bsd[2], bsd[1]) if bsd else tuple(line.split(None, 1))
        if (
            len(pair) == 2
            and pair[1].lstrip("*").removeprefix("./") == name
            and _HEX.match(pair[0])
        ):
            return pair[0]
    raise Invalid(
        f"The checksum file {untrusted.words(url)} does not name {untrusted.words(name, 200)}.",
        next_action="Give the digest itself, or a file that has it.",
    )


def _format(path: Path) -> str:
    with path.open("rb") as file:
        return "qcow2" if file.read(4) == b"QFI\xfb" else "raw"


def _sha512(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


def _packed(reply: aiohttp.ClientResponse) -> bool:
    return reply.headers.get("Content-Encoding", "identity") != "identity"


def _not_there(what: str, url: str, why: str) -> Fault:
    return Fault(
        f"The {what} {untrusted.words(url)} cannot be fetched: {untrusted.words(why, 300)}.",
        kind=Kind.FAILED,
        next_action="Check the URL from this host.",
    )
