"""The process itself: wrong words and settings, a second cloud, and an end in the middle of requests."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ingot.kit.faults import Invalid
from ingot.settings import load
from tests.site.server import Site, free_port, run, site

pytestmark = pytest.mark.anyio


def one_line(code: int, err: str, *words: str, expect: int = 2) -> None:
    assert code == expect, err
    assert err.startswith("ingot") and len(err.strip().splitlines()) == 1, err
    for word in words:
        assert word in err, (word, err)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("fly",), "there is no command 'fly'; there are: serve, watch"),
        (("serve", "--fly"), "--fly"),
        (("db", "fly"), "choose from"),
        (("image", "build", "fly"), "choose from 'debian'"),
    ],
)
async def test_wrong_words(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    code, _, err = await run(*words, cwd=tmp_path)
    one_line(code, err, told)


@pytest.mark.parametrize("command", ["watch", "events"])
async def test_without_a_cloud(tmp_path: Path, command: str) -> None:
    code, _, err = await run(command, cwd=tmp_path, HOME=str(tmp_path))
    one_line(code, err, "no cloud", "give --os-cloud and --clouds", "ingot serve", expect=1)
    clouds = "clouds: {ingot-system: {auth: {auth_url: 'http://127.0.0.1:1/identity', username: a, password: b}}}"
    (tmp_path / "clouds.yaml").write_text(clouds)
    code, _, err = await run(command, cwd=tmp_path, HOME=str(tmp_path))
    one_line(code, err, "does not answer", "Is `ingot serve` running?", expect=1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '[log]\nlevel="info"\n[provisioning]\nlissten="x"\n',
            "line 4: provisioning.lissten: there",
        ),
        ('[provisioning]\nlissten="x"\n', "Did you mean listen?"),
        ("[deadlines]\npoll = 1\nagent = 'soon'\n", "line 3: deadlines.agent: Expected `float`"),
        ("deadlines = 5\n", "line 1: deadlines: Expected `object`"),
        ("\n[nosuch]\na = 1\n", "line 2: nosuch: there is no such option"),
        ("[log\n", "not valid TOML"),
        ('[log]\nlevel = "loud"\n', "line 2: log.level: 'loud' is none of debug, info"),
        ('roles = ["api", "fly"]\n', "line 1: roles: fly; roles are api"),
        ('listen = "nowhere"\n', "line 1: listen: 'nowhere' is not address:port"),
        ('[egress]\nrefuse = ["10.0.0.1/8"]\n', "line 2: egress.refuse: 10.0.0.1/8 has host bits"),
        ('[provisioning]\ncidr = "x"\n', "line 2: provisioning.cidr: 'x' is no network"),
        ('[baremetal]\nhardware_types = ["warp"]\n', "hardware type warp does not exist"),
        (
            '[ramdisk]\nkernel = "/no/vmlinuz"\n',
            "line 2: ramdisk.kernel: there is no file /no/vmlinuz",
        ),
        ('[monitoring]\nevent_url = "x"\n', "line 2: monitoring.event_url: 'x' is no http"),
        ('[monitoring]\nevent_url = "http://x"\n', "event_url: events need provisioning.listen"),
        ('database = "mysql://x"\n', "line 1: database: it is postgresql://"),
    ],
)
async def test_wrong_settings(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    if "warp" not in text and "lissten" not in text:  # a process takes a second to start
        with pytest.raises(Invalid) as wrong:
            load(file, {}, state="s")
        assert f"{file}" in wrong.value.text and told in wrong.value.text
        return
    words = ("serve", "--config", "bad.toml", "--state", "s")
    code, out, err = await run(*words, "--listen", f"127.0.0.1:{free_port()}", cwd=tmp_path)
    one_line(code, err, told)
    assert out == ""


async def test_settings_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"# \xff\n")
    for file, told in (
        ("none.toml", "none.toml cannot be read: No such file"),
        (".", "cannot be read: Is a directory"),
        ("latin.toml", "latin.toml is not a text in UTF-8"),
    ):
        code, _, err = await run("serve", "--config", file, cwd=tmp_path)
        one_line(code, err, told)
    code, _, err = await run("serve", "--state", "s", cwd=tmp_path, INGOT_DEADLINES__POLL="x")
    one_line(code, err, "INGOT_DEADLINES__POLL: Expected `float`")
    code, _, err = await run("serve", "--state", "/dev/null/s", cwd=tmp_path)
    one_line(code, err, "state folder /dev/null/s cannot be used", "--state")


async def test_a_machine_that_is_not_there(here: Site, tmp_path: Path) -> None:
    code, _, err = await run(
        "events", "nosuch", "--clouds", str(here.state / "clouds.yaml"), cwd=tmp_path
    )
    one_line(code, err, "there is no node and no server 'nosuch'", expect=1)


async def test_a_second_cloud(here: Site, tmp_path: Path) -> None:
    other = f"127.0.0.1:{free_port()}"
    code, _, err = await run("serve", "--state", str(here.state), "--listen", other, cwd=tmp_path)
    assert here.child is not None
    one_line(code, err, f"Another `ingot serve` (process {here.child.pid})", "--state")
    mine = f"127.0.0.1:{here.api}"
    code, _, err = await run("serve", "--state", "s", "--listen", mine, cwd=tmp_path)
    one_line(code, err, f"Cannot listen on {mine}: Address already in use", "--listen")


async def test_a_folder_that_holds_no_database(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "ingot.db").write_bytes(b"no database " * 100)
    words = ("serve", "--state", "s", "--listen", f"127.0.0.1:{free_port()}")
    code, _, err = await run(*words, cwd=tmp_path)
    one_line(code, err, "ingot.db cannot be used: file is not a database", expect=1)


async def test_told_to_stop_in_the_middle_of_requests(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        image = await here.make_image("cut")
        begun = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            for _ in range(600):
                yield os.urandom(1 << 16)
                begun.set()
                await asyncio.sleep(0.05)

        async def reads() -> int:
            count = 0
            while True:
                try:
                    answer = await here.ask("image", "GET", "/v2/images")
                except OSError:
                    return count
                assert answer.status == 200, answer.body
                count += 1

        upload = asyncio.create_task(here.upload(image, slow()))
        reading = asyncio.create_task(reads())
        await begun.wait()
        assert await here.stop(signal.SIGTERM) == 0
        done = await asyncio.gather(upload, reading, return_exceptions=True)
        assert isinstance(done[0], OSError) or done[0].status >= 400, done[0]
        assert "Traceback" not in here.log(), here.log()[-3000:]
        await here.start(here.settings())
        found = (await here.ask("image", "GET", f"/v2/images/{image}", status=200)).body
        assert found["status"] == "queued"
        assert (await here.upload(image, b"\0" * 4096)).status == 204
        assert await here.stop(signal.SIGINT) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_imaginary_machines_keep_their_power(tmp_path: Path, number: signal.Signals) -> None:
    """A server on one would be shown SHUTOFF after each restart of the cloud."""
    async with site(tmp_path, baremetal={"power_sync_seconds": 1}) as here:
        made = await here.ask(
            "baremetal", "POST", "/v1/nodes", {"driver": "fake-hardware"}, status=201
        )
        path = f"/v1/nodes/{made.body['uuid']}"
        await here.verb(made.body["uuid"], "manage")
        await here.node_in(made.body["uuid"], "manageable")
        await here.ask(
            "baremetal", "PUT", f"{path}/states/power", {"target": "power on"}, status=202
        )
        await _powered(here, path)
        await here.stop(number)
        await here.start(here.folder / "ingot.toml")
        async with asyncio.timeout(30):
            while not await _polls(here):
                await asyncio.sleep(0.1)
        await _powered(here, path)
        history = (await here.ask("baremetal", "GET", f"{path}/history", status=200)).body[
            "history"
        ]
        assert not [entry for entry in history if "power off" in str(entry)]


async def _powered(here: Site, path: str) -> None:
    async with asyncio.timeout(30):
        while True:
            shown = (await here.ask("baremetal", "GET", path, status=200)).body
            if shown["power_state"] == "power on" and shown["target_power_state"] is None:
                return
            await asyncio.sleep(0.1)


async def _polls(here: Site) -> bool:
    """Whether this process has asked a controller on its own."""
    async with here.http.get(f"{here.url}/metrics") as reply:
        lines = (await reply.text()).splitlines()
    found = [line.split()[-1] for line in lines if line.startswith("ingot_bmc_polls_total")]
    return any(float(number) > 0 for number in found)
