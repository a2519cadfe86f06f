"""The fleet as a process of its own, with its control API, and the boot script reader."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ingot.drivers.machine.ipxe import scripts
from ingot.drivers.machine.types import BootMode
from ingot.lab.sim.bootscript import BootFailed, BootTarget, ScriptRun
from ingot.services.baremetal.boot import plan as boot_plan

pytestmark = pytest.mark.anyio


def resident_kilobytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0])


def read_nodes(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text())["nodes"]


async def test_a_thousand_machines_in_one_process(tmp_path: Path) -> None:
    file = tmp_path / "nodes.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ingot.lab.sim", "--count", "1000", "--seed", "7"),
        *("--misbehaving", "0.05", "--enrol-file", str(file), "--stepped"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        assert ready["count"] == 1000 and ready["seconds"] < 15
        assert resident_kilobytes(process.pid) < 300_000
        nodes = read_nodes(file)
        assert len({node["ports"][0]["address"] for node in nodes}) == 1000
        assert {node["driver"] for node in nodes} == {"redfish", "ipmi"}
        async with aiohttp.ClientSession(ready["control"]) as http:
            await drive(http)
    finally:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def drive(http: aiohttp.ClientSession) -> None:
    async def get(path: str):
        async with http.get(path) as reply:
            return await reply.json()

    async def post(path: str, **body: object):
        async with http.post(path, json=body) as reply:
            return reply.status, await reply.json()

    assert (await get("/status"))["running"] == {"off": 1000}
    assert len((await get("/machines"))["machines"]) == 1000
    path = "/machines/sim-0003"
    assert (await post(f"{path}/inject", personality="reboots-twice"))[0] == 200
    assert (await get(path))["personality"] == "reboots-twice"
    assert (await post(f"{path}/inject", faults={"no_such_knob": 1}))[0] == 400
    assert (await post(f"{path}/inject", personality="nonsense"))[0] == 400
    assert (await post("/machines/none/heal"))[0] == 404
    assert (await post(f"{path}/step", timeout=0.05))[0] == 409
    assert (await post("/swap", a="sim-0001", b="sim-0002"))[0] == 200
    one = (await get("/machines/sim-0002"))["bmc"]
    assert (await post(f"{path}/pull"))[0] == 200
    assert (await post(f"{path}/plug"))[0] == 200
    assert one and (await get("/enrolment?name=sim-0003"))["nodes"][0]["name"] == "sim-0003"
    assert (await get("/commands"))["commands"] == [] == (await get("/acts"))["acts"]


async def test_wrong_arguments_are_told() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ingot.lab.sim", "--personality", "nonsense=1"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, text = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2 and b"no personality" in text


async def run_script(script: str, missing: str = "") -> tuple[BootTarget, str]:
    said: list[str] = []

    async def fetch(url: str) -> str:
        return "#!ipxe\nsanboot --no-describe --drive 0x80\n"

    async def check(url: str) -> None:
        if missing and missing in url:
            raise BootFailed(f"{url}: HTTP 404")

    async def pause(seconds: float) -> None:
        said.append(f"({seconds:g} s)")

    variables = {"mac": "52:54:00:00:00:01"}
    run = ScriptRun(variables, fetch, check, pause, said.append)
    return await run.run("#!ipxe\n" + script, "http://boot/x/y"), "".join(said)


async def test_scripts() -> None:
    target, said = await run_script(
        "set base http://boot/f\necho hello ${mac}\n"
        "kernel --timeout 60000 ${base}/k ipa-api-url=http://api a BOOTIF=01-${mac:hexhyp}\n"
        "initrd i\nboot\n"
    )
    assert target.kernel == "http://boot/f/k" and target.initrds == ("http://boot/x/i",)
    assert target.params == {
        "ipa-api-url": "http://api",
        "a": "",
        "BOOTIF": "01-52-54-00-00-00-01",
    }
    assert said == "hello 52:54:00:00:00:01\n"
    assert (await run_script("sanboot --no-describe --drive 0x80"))[0].kind == "disk"
    assert (await run_script("exit"))[0].kind == "next"
    assert (await run_script("chain next.ipxe"))[0].kind == "disk"
    failover = "kernel gone || goto other\nboot\n:other\nexit\n"
    assert (await run_script(failover, missing="gone"))[0].kind == "next"
    for bad in ("frobnicate", "boot", "goto nowhere", ":a\ngoto a", "kernel gone\nboot"):
        with pytest.raises(BootFailed):
            await run_script(bad, missing="gone")


async def test_the_first_script_asks_again_and_ends() -> None:
    """The real one: for five minutes, then the next device; a machine that is not ours goes on at once."""
    asked: list[str] = []

    async def played(*answers: str) -> tuple[str, list[float]]:
        slept: list[float] = []
        asked.clear()

        async def fetch(url: str) -> str:
            asked.append(url)
            if len(asked) > len(answers):
                raise BootFailed(f"{url}: Connection refused")
            if not answers[len(asked) - 1]:
                raise BootFailed(f"{url}: HTTP 503")
            return answers[len(asked) - 1]

        async def check(_url: str) -> None: ...

        async def pause(seconds: float) -> None:
            slept.append(seconds)

        run = ScriptRun({"mac": "52:54:00:00:00:01"}, fetch, check, pause, lambda _text: None)
        first = boot_plan.first_script("http://boot")
        return (await run.run(first, "http://boot/boot.ipxe")).kind, slept

    disk = scripts.render_local(BootMode.BIOS)
    assert await played("", "", disk) == ("disk", [10.0, 10.0])
    assert asked == ["http://boot/boot/52:54:00:00:00:01?unknown=exit"] * 3
    assert await played() == ("next", [10.0] * 29)
    assert await played(boot_plan.nobodys_script()) == ("next", [5.0])


async def test_a_script_that_says_wait_is_asked_again_for_as_long_as_it_says_so() -> None:
    """As by iPXE: what is chained with --replace does not nest, and a question that fails is asked again."""
    slept: list[float] = []
    answers = iter([*["wait"] * 30, *["down"] * 30, "go"])

    async def fetch(url: str) -> str:
        answer = next(answers)
        if answer == "down":
            raise BootFailed(f"{url}: Connection refused")
        return (
            scripts.render_wait("not yet", url)
            if answer == "wait"
            else scripts.render_local(BootMode.BIOS)
        )

    async def check(_url: str) -> None: ...

    async def pause(seconds: float) -> None:
        slept.append(seconds)

    run = ScriptRun({}, fetch, check, pause, lambda _text: None)
    target = await run.run(scripts.render_wait("not yet", "http://boot/x"), "http://boot/x")
    assert target.kind == "disk" and slept == [10.0] * 61
