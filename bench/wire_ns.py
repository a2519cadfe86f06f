"""A provisioning wire of its own: a network namespace with a bridge, in which the cloud and its machines live.

The API's socket stays outside (`ingot serve --netns`); what must ask inside takes its sockets from `connect`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from ingot.kit.namespace import enter_namespace

ADDRESS = "10.77.0.1"
CIDR = "10.77.0.0/16"
POOL = "10.77.1.0-10.77.200.255"
BRIDGE = "prov0"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


class Wire:
    """One namespace. name: for `ip netns`."""

    def __init__(self, name: str) -> None:
        self.name = name
        # A thread that lives inside; everything else of this process stays where it is.
        self._thread = ThreadPoolExecutor(1, initializer=enter_namespace, initargs=(name,))

    @property
    def inside(self) -> list[str]:
        """What a command begins with to run in it."""
        return ["ip", "netns", "exec", self.name]

    def connect(self, port: int) -> socket.socket:
        """A connection to a port of the wire's own address."""
        return self._thread.submit(socket.create_connection, (ADDRESS, port), 10).result(20)

    def close(self) -> None:
        self._thread.shutdown()


@contextlib.contextmanager
def wire() -> Iterator[Wire]:
    """Needs root and `ip`. The namespace goes with what is in it."""
    if os.geteuid() != 0:
        raise RuntimeError("a provisioning wire needs root")
    name = f"ign-bench-{secrets.token_hex(3)}"
    _ip("netns", "add", name)
    try:
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "link", "add", BRIDGE, "type", "bridge")
        _ip("-n", name, "address", "add", f"{ADDRESS}/16", "dev", BRIDGE)
        _ip("-n", name, "link", "set", BRIDGE, "up")
        made = Wire(name)
        try:
            yield made
        finally:
            made.close()
    finally:
        _ip("netns", "del", name)
