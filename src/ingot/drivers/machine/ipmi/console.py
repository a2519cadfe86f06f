"""Serial over LAN: `ipmitool sol activate` in a pseudo terminal, read and written asynchronously.

ipmitool insists on a terminal. The process dies with its session (`aclose`), with its reader
(end of file) and, by the parent-death signal, with Ingot itself, so none is left behind.
"""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import termios
import tty
from collections.abc import AsyncIterator

from ingot.drivers.faults import DriverFault, Refused, Unreachable
from ingot.drivers.machine.base import ConsoleSession
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.ipmi.lan import IpmiLan
from ingot.drivers.machine.ipmi.tool import (
    IpmiTool,
    Target,
    command_line,
    environment,
    target_of,
)
from ingot.drivers.machine.types import Access

CHUNK = 4096
QUEUED_CHUNKS = 256
START_SECONDS = 15.0
ESCAPE = "\x1e"
READY = b"SOL Session operational"


class SolSession:
    """One SOL session. Output beyond what the reader takes is dropped, oldest first."""

    def __init__(
        self, tool: IpmiTool, access: Access, fd: int, process: asyncio.subprocess.Process
    ):
        self._tool = tool
        self._access = access
        self._fd = fd
        self._process = process
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._closed = False
        self._ended = False
        self.dropped = 0
        asyncio.get_running_loop().add_reader(fd, self._readable)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._read()

    async def send(self, data: bytes) -> None:
        """Type `data` at the machine's console."""
        if self._closed or self._ended:
            raise Unreachable("the console session has ended")
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                await asyncio.sleep(0.01)
            except OSError as error:
                raise Unreachable(f"the console session has ended: {error.strerror}") from None

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        taken = self._ended
        self._stop_reading()
        try:
            os.write(self._fd, f"\r{ESCAPE}.".encode())
        except OSError:
            pass
        await asyncio.shield(self._end_process())
        os.close(self._fd)
        if taken:
            return  # it had ended before: what there is now may be the session of who took it over
        try:
            await self._tool.run(self._access, "sol", "deactivate", seconds=10.0)
        except DriverFault:
            pass  # already deactivated by the process, or the controller is gone

    async def first_words(self) -> bytes:
        """What ipmitool says before the session is up; Refused or Unreachable when it ends."""
        words = b""
        async with asyncio.timeout(START_SECONDS):
            while READY not in words:
                chunk = await self._chunks.get()
                if chunk is None:
                    break
                words += chunk
        return words

    async def _read(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk

    def _readable(self) -> None:
        try:
            chunk = os.read(self._fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: the process closed its side
            chunk = b""
        if not chunk:
            self._stop_reading()
            return
        if self._chunks.qsize() >= QUEUED_CHUNKS:
            self._chunks.get_nowait()
            self.dropped += 1
        self._chunks.put_nowait(chunk)

    def _stop_reading(self) -> None:
        if not self._ended:
            self._ended = True
            asyncio.get_running_loop().remove_reader(self._fd)
            self._chunks.put_nowait(None)

    async def _end_process(self) -> None:
        for stop in (None, self._process.terminate, self._process.kill):
            if self._process.returncode is not None:
                return
            if stop is not None:
                stop()
            try:
                async with asyncio.timeout(1.5):
                    await self._process.wait()
            except TimeoutError:
                continue


class IpmiConsole:
    kind = "socat"

    def __init__(self, context: DriverContext) -> None:
        self._tool = context.shared(IpmiTool, lambda: IpmiTool(context))
        self._lan = context.shared(IpmiLan, lambda: IpmiLan(context))

    async def open(self, access: Access) -> ConsoleSession:
        """Start SOL; a session left over by somebody else is deactivated first."""
        target = target_of(access)
        await self._lan.find_suite(access)
        try:
            await self._tool.run(access, "sol", "deactivate", seconds=10.0)
        except DriverFault as fault:
            # "already de-activated" is the normal answer; a dead controller is not.
            if isinstance(fault, Unreachable) or fault.kind == "bad credentials":
                raise
        session = await self._start(target, access)
        try:
            words = await session.first_words()
        except TimeoutError:
            await session.aclose()
            raise Unreachable(f"no SOL session within {START_SECONDS:g} s") from None
        except BaseException:
            await session.aclose()
            raise
        if READY not in words:
            await session.aclose()
            raise Refused(words.decode(errors="replace"), secrets=target.secrets)
        return session

    async def _start(self, target: Target, access: Access) -> SolSession:
        at, suite = await self._tool.find(target), self._tool.suite(target)
        line = command_line(target, at, suite, ("-e", ESCAPE, "sol", "activate"))
        if shutil.which("setpriv"):
            line = ["setpriv", "--pdeathsig", "TERM", *line]
        master, slave = pty.openpty()
        try:
            tty.setraw(slave, termios.TCSANOW)
            os.set_blocking(master, False)
            process = await asyncio.create_subprocess_exec(
                *line,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env=environment(target),
                start_new_session=True,
            )
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        return SolSession(self._tool, access, master, process)


class IpmiWebsocketConsole(IpmiConsole):
    """The same session, offered by websocket with a token instead of by a TCP port without a password."""

    kind = "websocket"
