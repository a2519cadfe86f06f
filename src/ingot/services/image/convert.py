"""From qcow2 to a sparse raw file, by qemu-img under limits, with progress.

Only inspected files come here; formats are named, never guessed by qemu-img.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from ingot.kit.faults import Fault, Kind

_SHARE = re.compile(rb"\(\s*([0-9.]+)/100%\)")
_MEMORY = 2 << 30
_LOOK_SECONDS = 0.1


async def to_raw(
    source: Path,
    target: Path,
    *,
    deadline: float,
    progress: Callable[[float], None],
    has_room: Callable[[], bool],
) -> None:
    """Convert; a fault on failure or at the deadline (seconds). The caller removes a target that failed.

    has_room: asked again and again. A small image may become a large disk, and nothing in it tells how large.
    """
    if not has_room():
        raise _full()
    command = [
        "prlimit",
        f"--as={_MEMORY}",
        f"--cpu={max(1, int(deadline))}",
        "qemu-img",
        "convert",
        "-p",
        "-f",
        "qcow2",
        "-O",
        "raw",
        "-S",
        "64k",
        str(source),
        str(target),
    ]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        raise Fault(
            "qemu-img is not installed on this host.",
            kind=Kind.UNAVAILABLE,
            next_action="Install qemu-utils.",
        ) from None
    done = False
    watch = asyncio.ensure_future(_watch(process, has_room))
    try:
        async with asyncio.timeout(deadline):
            said, _ = await asyncio.gather(
                process.stderr.read() if process.stderr else asyncio.sleep(0, b""),
                _follow(process.stdout, progress),
            )
            done = await process.wait() == 0
        if watch.done():
            raise _full()
        if not done:
            raise _failed(said.decode(errors="replace"))
    except TimeoutError:
        raise Fault(
            f"Converting the image to raw took longer than {deadline:.0f} s.",
            kind=Kind.TIMEOUT,
            next_action="Upload the image as raw, or raise convert_seconds.",
        ) from None
    finally:
        watch.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _follow(stream: asyncio.StreamReader | None, progress: Callable[[float], None]) -> None:
    while stream is not None and (text := await stream.read(256)):
        found = _SHARE.findall(text)
        if found:
            progress(min(1.0, float(found[-1]) / 100))


async def _watch(process: asyncio.subprocess.Process, has_room: Callable[[], bool]) -> None:
    """Ends, with the conversion, when there is no room any more."""
    while has_room():
        await asyncio.sleep(_LOOK_SECONDS)
    if process.returncode is None:
        process.kill()


def _full() -> Fault:
    return Fault(
        "There is not enough room on the image store for this image as a raw disk.",
        kind=Kind.FULL,
        next_action="Make room on the image store, or upload a smaller image.",
    )


def _failed(said: str) -> Fault:
    full = "No space left" in said
    return Fault(
        f"qemu-img could not convert the image to raw: {said.strip()[-300:]}",
        kind=Kind.FULL if full else Kind.FAILED,
        next_action="Make room on the image store."
        if full
        else "Check the image and upload it anew.",
    )


def sha512_of(path: Path) -> str:
    """The digest of a file (blocking)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()
