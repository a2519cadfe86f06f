"""The agent's write_image: a real download, a real checksum, a remembered disk.

The image's bytes are fetched from the URL and hashed as they come, then thrown away: the disk
keeps digest and size only. With `image_fetch="auto"` the first machine that gets an image of a
given checksum and size does it in full, all later ones ask for the size and read the first
64 KiB, so that a thousand deploys measure the controller and not SHA-512.

Retries: one loop of `ipa-image-download-connection-retries` + 1 attempts (there: two nested
ones) with the agent's own pause between them. Format inspection and conversion of non-raw
images are left out: size and digest of the file as it came are what the disk remembers.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from ingot.lab.sim.agent_errors import AgentError, LocalError
from ingot.lab.sim.agent_state import AgentState
from ingot.lab.sim.jsonshape import as_object
from ingot.lab.sim.types import WrittenImage

CHUNK = 1024 * 1024
PROBE = 64 * 1024
_ALGORITHMS = {32: "md5", 64: "sha256", 128: "sha512"}
_NETWORK = (aiohttp.ClientError, OSError, TimeoutError)


def check_image_info(info: object) -> None:
    """Raise InvalidCommandParamsError for what the agent refuses before it begins."""

    def refuse(text: str) -> AgentError:
        return AgentError("InvalidCommandParamsError", text)

    image = as_object(info) or {}
    for field in ("id", "urls"):
        if field not in image:
            raise refuse(f"Image is missing '{field}' field.")
    if not isinstance(image["urls"], list) or not image["urls"]:
        raise refuse("Image 'urls' must be a list with at least one element.")
    checksum = image.get("checksum")
    if checksum is not None and (not isinstance(checksum, str) or not checksum):
        raise refuse("Image 'checksum' must be a non-empty string.")
    good = bool(checksum) and (_is_url(checksum) or len(checksum) > 32)
    algorithm, value = image.get("os_hash_algo"), image.get("os_hash_value")
    if algorithm or value:
        for field in ("os_hash_algo", "os_hash_value"):
            if not isinstance(image.get(field), str) or not image.get(field):
                raise refuse(f"Image '{field}' must be a non-empty string.")
        good = True
    if not good:
        raise refuse(
            "Image checksum is not available, either the 'checksum' field or the 'os_hash_algo' "
            "and 'os_hash_value' fields pair must be set for image verification."
        )


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


async def write_image(
    agent: AgentState, args: dict[str, Any], node: str, source: str
) -> tuple[str, str]:
    """Fetch, verify and "write"; gives the agent's result text and the id of the root partition. Raises AgentError, LocalError."""
    machine = agent.machine
    info: dict[str, Any] = args["image_info"]
    drive = args.get("configdrive") or info.get("configdrive")
    disk = min((d for d in machine.hardware.disks if d.size >= 4 * 1024**3), key=lambda d: d.size)
    machine.act("write_image", disk.name, node, source, str(info["id"]))
    machine.image = WrittenImage(str(info["id"]), "", 0, "", complete=False)
    download = _Download(agent, info)
    digest, size = await download.run()
    await _write(agent, disk.name, size)
    configdrive = await _configdrive(agent, drive)
    if machine.faults.take("disk_write_errors"):
        raise AgentError(
            "ImageWriteError",
            f"Writing image to device {disk.name} failed with exit code 1. stdout: . stderr: "
            "qemu-img: error while writing sector 1629312: Input/output error\n",
        )
    machine.image = WrittenImage(str(info["id"]), digest, size, configdrive, complete=True)
    machine.written.append(machine.image)
    root = f"0x{digest[:8]}"
    text = f"image ({info['id']}) written to device {disk.name} root_uuid={root}"
    return text, root


async def _write(agent: AgentState, disk: str, size: int) -> None:
    """Pass the time that the disk takes; half-way is where agents vanish."""
    machine = agent.machine
    drawn = machine.chance.between("write-rate", machine.timings.write_mb_per_s)
    rate = machine.faults.write_mb_per_s or drawn
    seconds = size / 1e6 / rate + machine.chance.between("write", machine.timings.short_command)
    await machine.clock.sleep(seconds / 2, "write")
    if machine.faults.take("agent_vanishes"):
        await agent.vanish()
    if machine.faults.take("agent_restarts"):
        agent.restart_process()
        await asyncio.Event().wait()
    await machine.clock.sleep(seconds / 2, "write")


async def _configdrive(agent: AgentState, drive: object) -> str:
    """Digest of the config drive's bytes (empty without one): from base64, a URL or JSON."""
    if not drive:
        return ""
    if isinstance(drive, dict):
        return hashlib.sha256(json.dumps(drive, sort_keys=True).encode()).hexdigest()
    text = str(drive)
    if _is_url(text):
        try:
            async with agent.world.session.get(text) as reply:
                if reply.status != 200:
                    raise LocalError("HTTPError", f"{text}: HTTP {reply.status}")
                return hashlib.sha256(await reply.read()).hexdigest()
        except _NETWORK as problem:
            raise LocalError("ConnectionError", f"{text}: {problem}") from problem
    try:
        return hashlib.sha256(base64.b64decode(text, validate=False)).hexdigest()
    except ValueError as problem:
        raise LocalError(
            "InstanceDeployFailure", f"config drive is not base64: {problem}"
        ) from None


class _Download:
    """One image's way from URL to digest, with the agent's retries."""

    def __init__(self, agent: AgentState, info: dict[str, Any]) -> None:
        self._agent = agent
        self._info = info
        self._ident = str(info["id"])

    async def run(self) -> tuple[str, int]:
        retries = int(self._agent.params.get("ipa-image-download-connection-retries") or 9)
        pause = float(self._agent.params.get("ipa-image-download-connection-retry-interval") or 10)
        for attempt in range(retries + 1):
            try:
                return await self._attempt()
            except AgentError as error:
                fatal = error.kind not in ("ImageDownloadError", "ImageChecksumError")
                if fatal or attempt == retries:
                    raise
                self._agent.machine.note("download failed", error.details[:300])
            except LocalError:
                if attempt == retries:
                    raise
            await self._agent.machine.clock.sleep(pause, "download-retry")
        raise AssertionError("unreachable")

    def _error(self, kind: str, text: str) -> AgentError:
        return AgentError(kind, f"Download of image {self._ident} failed: {text}")

    async def _attempt(self) -> tuple[str, int]:
        faults = self._agent.machine.faults
        algorithm, expected = await self._expected()
        if faults.take("failed_downloads"):
            raise self._error("ImageDownloadError", "Timed out reading next chunk from webserver")
        damaged = faults.take("corrupt_downloads")
        tries: list[str] = []
        for url in self._info["urls"]:
            try:
                digest, size = await self._fetch(str(url), algorithm, expected, damaged)
                break
            except AgentError as error:
                if error.kind != "ImageDownloadError":
                    raise
                tries.append(f"URL: {url}; Error: {error.details}")
        else:
            raise self._error("ImageDownloadError", "\n ".join(tries))
        if digest != expected.lower():
            place = self._agent.machine.hardware.disks[0].name
            raise AgentError(
                "ImageChecksumError",
                f"Image failed to verify against checksum. location: {self._ident}; "
                f"image ID: {place}; image checksum: {expected}; verification checksum: {digest}",
            )
        self._agent.world.verified_images.add((expected.lower(), str(size)))
        return digest, size

    async def _expected(self) -> tuple[str, str]:
        """Hash algorithm and wanted value, by the agent's order of precedence."""
        info = self._info
        algorithm = str(info.get("os_hash_algo") or "")
        checksum = str(info.get("checksum") or "")
        if algorithm in hashlib.algorithms_available:
            return algorithm, await self._value(str(info.get("os_hash_value")))
        if not checksum:
            raise AgentError(
                "RESTError",
                f"Unable to verify image {self._ident} with available checksums. Please make sure "
                f"the specified 'os_hash_algo' (currently {algorithm or None}) is supported by "
                "this ramdisk, or provide a md5 checksum via the 'checksum' field",
            )
        value = await self._value(checksum)
        by_length = _ALGORITHMS.get(len(value), "")
        md5_allowed = bool(self._agent.config.get("agent_md5_checksum_enable"))
        if not by_length or (by_length == "md5" and not md5_allowed):
            raise AgentError(
                "RESTError",
                f"Unable to proceed with image {self._ident} as the checksum indicator has been "
                "used but the algorithm could not be identified. Error: Unable to identify "
                "checksum algorithm used, and a value is not specified in the os_hash_algo "
                "setting.",
            )
        return by_length, value

    async def _value(self, checksum: str) -> str:
        if not _is_url(checksum):
            return checksum
        try:
            async with self._agent.world.session.get(checksum) as reply:
                if reply.status != 200:
                    raise self._error("ImageDownloadFatalError", f"{checksum}: {reply.status}")
                text = await reply.text()
        except _NETWORK as problem:
            raise LocalError("ConnectionError", str(problem)) from problem
        name = urlsplit(str(self._info["urls"][0])).path.rsplit("/", 1)[-1]
        lines = [line for line in text.splitlines() if line.strip() and line[0] != "#"]
        for line in lines:
            found = re.search(
                r"(?:^|\s)([0-9a-fA-F]{128}|[0-9a-fA-F]{64}|[0-9a-fA-F]{32})(?:\s|\Z)", line
            )
            if found and (len(lines) == 1 or re.search(rf"[\s*(]{re.escape(name)}(?:$|\))", line)):
                return found.group(1)
        raise self._error("ImageDownloadError", f"Checksum file does not contain name {name}")

    def _headers(self) -> dict[str, str]:
        info = self._info
        if given := info.get("image_request_authorization"):
            return {"Authorization": base64.b64decode(str(given)).decode()}
        if info.get("image_server_auth_strategy") == "http_basic":
            pair = f"{info.get('image_server_user')}:{info.get('image_server_password')}"
            return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
        return {}

    async def _fetch(
        self, url: str, algorithm: str, expected: str, damaged: bool
    ) -> tuple[str, int]:
        mode = self._agent.world.options.image_fetch
        verify = self._agent.params.get("ipa-insecure") not in ("1", "true", "True")
        session = self._agent.world.session
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=60, sock_read=60)
        try:
            if mode != "full":
                size = await self._probe(session, url, timeout, verify)
                known = (expected.lower(), str(size)) in self._agent.world.verified_images
                if size and (mode == "probe" or known):
                    return ("0" * len(expected) if damaged else expected.lower()), size
            hasher = hashlib.new(algorithm)
            size = 0
            async with session.get(
                url, headers=self._headers(), timeout=timeout, ssl=verify
            ) as reply:
                await self._judge(reply, url)
                async for chunk in reply.content.iter_chunked(CHUNK):
                    hasher.update(chunk)
                    size += len(chunk)
                length = reply.content_length
            if length is not None and length != size:
                raise self._error("ImageDownloadError", f"got {size} of {length} bytes")
        except aiohttp.ClientPayloadError as problem:
            raise self._error("ImageDownloadError", f"Unable to write image: {problem}") from None
        except _NETWORK as problem:
            raise LocalError("ConnectionError", str(problem)) from problem
        if damaged:
            hasher.update(b"\0")
        return hasher.hexdigest(), size

    async def _probe(
        self, session: aiohttp.ClientSession, url: str, timeout: aiohttp.ClientTimeout, verify: bool
    ) -> int:
        """Read the first chunk; gives the whole size, 0 when the server does not tell."""
        headers = {**self._headers(), "Range": f"bytes=0-{PROBE - 1}"}
        async with session.get(url, headers=headers, timeout=timeout, ssl=verify) as reply:
            if reply.status == 416:
                return 0
            await self._judge(reply, url)
            await reply.content.read(PROBE)
            if reply.status == 206:
                total = reply.headers.get("Content-Range", "").rpartition("/")[2]
                return int(total) if total.isdigit() else 0
            return reply.content_length or 0

    async def _judge(self, reply: aiohttp.ClientResponse, url: str) -> None:
        if reply.status in (200, 206):
            return
        body = (await reply.content.read(2000)).decode(errors="replace")
        text = (
            f"Received status code {reply.status} from {url}, expected 200. "
            f"Response body: {body} Response headers: {dict(reply.headers)}"
        )
        kind = "ImageDownloadFatalError" if reply.status < 500 else "ImageDownloadError"
        raise self._error(kind, text)
