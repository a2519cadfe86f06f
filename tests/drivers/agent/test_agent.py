"""The agent client against the command API of the stock ironic-python-agent 13."""

import asyncio
import hashlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from ingot.drivers.faults import BadCredentials, Busy, Refused, Unreachable, Unsupported
from ingot.drivers.machine.agent.client import (
    AgentAddress,
    AgentClient,
    CommandLost,
    VersionMismatch,
)
from ingot.drivers.machine.agent.commands import Agent, PartitionIds
from ingot.drivers.machine.agent.image import DeployImage
from ingot.kit.http.egress import LOOPBACK, Egress
from ingot.kit.tasks.clock import SystemClock
from tools.conformance.environments import find_uv

TOKEN = "t0ken-of-more-than-thirty-two-characters"
NODE = {"uuid": "8b1b6ea6-2c1f-4b65-9b5c-6d2b9d1d5b10", "properties": {}, "instance_info": {}}
PORTS = [{"address": "52:54:00:00:00:01"}]
COMMAND = [find_uv(), "run", "--quiet", "--no-project", "--python", sys.executable, "--with",
           "ironic-python-agent==13.0.0", "python"]  # fmt: skip

pytestmark = pytest.mark.anyio


class Bench:
    """A running stock agent: `folder` has its certificate and its "disk"."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        pem = (folder / "agent.crt").read_text()
        self.address = AgentAddress(f"https://127.0.0.1:{port}", TOKEN, pem)
        self.client = AgentClient(SystemClock(), egress=Egress.of(LOOPBACK))
        self.agent = Agent(self.client, self.address, NODE, PORTS)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        str(Path(__file__).parent / "stock_agent.py"),
        TOKEN,
        str(tmp_path),
        stdout=asyncio.subprocess.PIPE,
        stderr=(tmp_path / "log").open("wb"),
        start_new_session=True,
        env=environ,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(110):
            line = await process.stdout.readline()
        assert line.strip().isdigit(), read(tmp_path / "log")[-2000:]
        made = Bench(tmp_path, int(line))
        yield made
        await made.client.aclose()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGTERM)
        await process.wait()


def read(path: Path) -> str:
    return path.read_text(errors="replace")


async def test_the_whole_conversation(bench: Bench) -> None:
    """One agent for all, as its start takes seconds; each part says what it proves."""
    await steps_are_read_and_run(bench)
    await busy_agent_says_so(bench)
    await failures_keep_the_agents_words(bench)
    await changed_managers_are_noticed(bench)
    await lost_replies_are_found_again(bench)
    await strangers_are_refused(bench)


async def steps_are_read_and_run(bench: Bench) -> None:
    assert (await bench.client.status(bench.address))["version"] == "13.0.0"
    found = await bench.agent.get_steps("clean")
    assert [s["step"] for s in found.steps] == ["fail", "rest"], "by priority"
    assert found.steps[0]["hardware_manager"] == "BenchManager"
    assert (await bench.agent.get_steps("service")).steps == ()
    step = {"step": "rest", "interface": "deploy", "args": {"seconds": 0.2}}
    command = await bench.agent.execute_step("clean", step, found.versions)
    assert not command.done
    done = await bench.agent.wait(command.id, 30)
    assert done.value()["clean_result"] == f"{NODE['uuid']} rested"
    assert done.value()["clean_step"] == step
    assert await bench.agent.partition_ids() == PartitionIds()
    await bench.agent.sync()


async def busy_agent_says_so(bench: Bench) -> None:
    step = {"step": "rest", "interface": "deploy", "args": {"seconds": 1.5}}
    running = await bench.agent.execute_step("deploy", step)
    with pytest.raises(Busy, match="executing command execute_deploy_step"):
        await bench.agent.sync()
    with pytest.raises(Busy, match="still runs"):
        await bench.agent.wait(running.id, 0.1)
    assert (await bench.agent.wait(running.id, 30)).done


async def failures_keep_the_agents_words(bench: Bench) -> None:
    command = await bench.agent.execute_step("clean", {"step": "fail", "interface": "deploy"})
    done = await bench.agent.wait(command.id, 30)
    with pytest.raises(Refused, match=r"BlockDeviceEraseError.*sdz is on fire"):
        done.value()
    with pytest.raises(Refused, match="Unknown command"):
        await bench.agent.run("clean.no_such_command")
    with pytest.raises(Unsupported, match="no_such_extension"):
        await bench.agent.run("no_such_extension.command")


async def changed_managers_are_noticed(bench: Bench) -> None:
    step = {"step": "rest", "interface": "deploy"}
    command = await bench.agent.execute_step("clean", step, {"BenchManager": "0"})
    done = await bench.agent.wait(command.id, 30)
    assert done.status == "CLEAN_VERSION_MISMATCH"
    with pytest.raises(VersionMismatch):
        done.value()


async def lost_replies_are_found_again(bench: Bench) -> None:
    step = {"step": "rest", "interface": "deploy", "args": {"seconds": 0.3}}
    sent = await bench.agent.execute_step("deploy", step)
    again = await bench.agent.resume("deploy.execute_deploy_step", "deploy", "rest")
    assert again is not None and again.id == sent.id
    await bench.agent.wait(sent.id, 30)
    done = await bench.agent.resume("deploy.execute_deploy_step", "deploy", "rest")
    assert done is not None and done.done
    assert await bench.agent.resume("deploy.execute_deploy_step", "deploy", "other") is None
    with pytest.raises(CommandLost):
        await bench.agent.get("00000000-0000-0000-0000-000000000000")


async def strangers_are_refused(bench: Bench) -> None:
    stranger = replace(bench.address, token="another-token-that-is-quite-wrong-too")
    with pytest.raises(BadCredentials) as caught:
        await bench.client.commands(stranger)
    assert stranger.token not in f"{caught.value!r}{caught.value}{stranger!r}"
    untrusted = replace(bench.address, verify_ca=None)
    with pytest.raises(Unreachable, match="certificate"):
        await bench.client.commands(untrusted)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dead = replace(bench.address, url=f"https://127.0.0.1:{probe.getsockname()[1]}")
        with pytest.raises(Unreachable):
            await bench.client.commands(dead)


async def test_an_image_is_fetched_and_checked_by_the_stock_code(bench: Bench) -> None:
    """The bytes arrive on the (file) disk; a wrong digest is reported in the agent's words."""
    content = os.urandom(3 << 20)
    app = web.Application()

    async def image(request: web.Request) -> web.Response:
        return web.Response(body=content)

    app.router.add_get("/image", image)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/image"
    digest = hashlib.sha512(content).hexdigest()
    good = DeployImage("img1", (url,), "raw", "sha512", digest)
    command = await bench.agent.write_image(good)
    done = await bench.agent.wait(command.id, 60)
    assert (bench.folder / "disk").read_bytes() == content
    # What the agent does to a real disk after that fails on a file, in lsblk's words.
    with pytest.raises(Refused, match="not a block device"):
        done.value()
    command = await bench.agent.write_image(replace(good, id="img2", os_hash_value="0" * 128))
    done = await bench.agent.wait(command.id, 60)
    with pytest.raises(Refused, match="checksum"):
        done.value()
    await runner.cleanup()
