"""Is a controller there at all? One unauthenticated IPMI question over UDP.

"Get Channel Authentication Capabilities" is answered by every IPMI controller before any login.
It tells a wrong password from a dead controller, which ipmitool does not.
"""

from __future__ import annotations

import asyncio

# RMCP header, IPMI 1.5 session header without authentication, then the command 0x38 to 0x20 with
# data (IPMI 2.0 data of the current channel, administrator).
QUESTION = bytes.fromhex("0600ff07000000000000000000092018c88100388e04b5")


class _Answer(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if data[:1] == b"\x06" and not self.done.done():
            self.done.set_result(True)

    def error_received(self, exc: Exception) -> None:
        if not self.done.done():
            self.done.set_result(False)


async def answers(host: str, port: int = 623, seconds: float = 1.5, tries: int = 4) -> bool:
    """Whether an IPMI controller answers at host:port; at most `tries` times `seconds`."""
    loop = asyncio.get_running_loop()
    try:
        transport, answer = await loop.create_datagram_endpoint(_Answer, remote_addr=(host, port))
    except OSError:
        return False
    try:
        for _ in range(tries):
            transport.sendto(QUESTION)
            try:
                async with asyncio.timeout(seconds):
                    return await asyncio.shield(answer.done)
            except TimeoutError:
                continue
        return False
    finally:
        transport.close()
