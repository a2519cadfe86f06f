"""Real firmware on the wire: QEMU's iPXE (BIOS) asks DHCP, and then for its script over HTTP."""

from __future__ import annotations

import asyncio
import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ingot.agents.dhcp.dnsmasq import Dnsmasq
from ingot.kit.tasks.clock import SystemClock

from .test_dnsmasq import ONE, Events, events, plan, until
from .wire import SERVER_IP, Wire

__all__ = ["events"]

pytestmark = [pytest.mark.anyio, pytest.mark.qemu]

SCRIPT = b"#!ipxe\nshell\n"


def _bridge() -> None:
    """A tap for the machine beside the wire's own end, behind one address."""
    for words in (
        "tuntap add tap0 mode tap",
        "link add br0 type bridge",
        "link set tap0 master br0",
        "address flush dev srv0",
        f"address add {SERVER_IP}/24 dev br0",
        "link set tap0 up",
        "link set br0 up",
    ):
        subprocess.run(["ip", *words.split()], check=True, capture_output=True)


@contextmanager
def _scripts(asked: list[str]) -> Iterator[None]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers.get('User-Agent')}")
            self.send_response(200)
            self.send_header("Content-Length", str(len(SCRIPT)))
            self.end_headers()
            self.wfile.write(SCRIPT)

        def log_message(self, format: str, *args: object) -> None:
            return None

    server = http.server.ThreadingHTTPServer((SERVER_IP, 8088), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


async def test_a_bios_machine_fetches_its_script(
    wire: Wire, tmp_path: Path, events: Events
) -> None:
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("needs qemu-system-x86_64")
    _bridge()
    dnsmasq = Dnsmasq(tmp_path, SystemClock(), lambda *event: events.append(event))
    asked: list[str] = []
    try:
        await dnsmasq.apply(replace(plan(1, m01="192.0.2.11"), interface="br0"))
        with _scripts(asked):
            machine = await asyncio.create_subprocess_exec(
                "qemu-system-x86_64", "-accel", "tcg", "-m", "256", "-display", "none",
                "-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no",
                "-device", f"virtio-net-pci,netdev=n,mac={ONE},bootindex=1",
            )  # fmt: skip
            try:
                await until(lambda: bool(asked), "the script asked for", 100)
            finally:
                if machine.returncode is None:
                    machine.kill()
                    await machine.wait()
    finally:
        await dnsmasq.close()
    assert len(asked) == 1 and asked[0].startswith("/boot.ipxe iPXE/")
    said = [what for mac, what, _ in events if mac == ONE]
    assert {"discover", "offer", "request", "ack", "boot file"} <= set(said)
