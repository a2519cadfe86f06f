"""`redfish_verify_ca` may name any path of the cloud's host: none of them holds the cloud up or tells what is there."""

import asyncio
import os
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ingot.drivers.faults import Unreachable, Unsupported
from ingot.drivers.machine import DriverContext, Registry, build_registry
from ingot.drivers.machine.types import PowerState
from ingot.kit.tasks.clock import SystemClock

sys.path.insert(0, str(Path(__file__).parent))
from service import Service
from test_redfish import bench_of, make_certificate

pytestmark = pytest.mark.anyio


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    made = DriverContext(SystemClock())
    yield build_registry(made)
    await made.aclose()


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(make_certificate(tmp_path))
    running = await Service().start(tls)
    yield running
    await running.stop()


def _paths(folder: Path) -> dict[str, str]:
    pipe, secret, empty = folder / "pipe", folder / "secret", folder / "empty"
    os.mkfifo(pipe)
    secret.write_text("instance-secret")
    empty.touch()
    found = {"pipe": pipe, "other": secret, "empty": empty, "none": folder / "none"}
    kernel = {"kernel": "/proc/kmsg", "zeros": "/dev/zero", "terminal": "/dev/ptmx"}
    return {name: str(path) for name, path in found.items()} | kernel


@pytest.mark.parametrize("kind", ["pipe", "other", "empty", "none", "kernel", "zeros", "terminal"])
async def test_paths_that_hold_no_certificates(
    registry: Registry, service: Service, tmp_path: Path, kind: str
) -> None:
    path = _paths(tmp_path)[kind]
    bench = bench_of(registry, service)
    access = bench.with_options({"redfish_verify_ca": path})
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.01)
            beats += 1

    beating = asyncio.ensure_future(beat())
    with pytest.raises(Unsupported) as caught:
        await asyncio.wait_for(bench.power.get(access), 5)
    await asyncio.sleep(0.05)
    beating.cancel()
    # The same words for all: they say nothing of what is there.
    assert caught.value.cause == f"redfish_verify_ca {path} cannot be used"
    assert beats and not service.asked


async def test_bundles_and_folders(registry: Registry, service: Service, tmp_path: Path) -> None:
    own = (tmp_path / "bench.pem").read_text()
    (tmp_path / "other").mkdir()
    make_certificate(tmp_path / "other")
    bundle = tmp_path / "bundle"
    bundle.write_text(f"# Főtanúsítvány\n{own}\n# again\n{own}\n", encoding="utf-8")
    bench = bench_of(registry, service)
    access = bench.with_options({"redfish_verify_ca": str(bundle)})
    assert await bench.power.get(access) is PowerState.OFF
    (tmp_path / "folder").mkdir()
    for verify in (str(tmp_path / "folder"), str(tmp_path / "other" / "bench.pem"), True):
        with pytest.raises(Unreachable, match="not trusted"):
            await bench.power.get(bench.with_options({"redfish_verify_ca": verify}))
