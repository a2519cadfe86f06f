"""Scenario files: what is read and refused; one played against a real `ingot serve` that is killed in its middle."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingot.lab.scenarios import ScenarioError, find, read, shipped
from tests.flows.site import free_port
from tests.site.server import clean_environment

HEAD = 'title = "t"\n[fleet]\nmachines = 20\nracks = 4\n[expect]\nstate = "active"\n'


def scenario_file(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def play(*words: str, seconds: float = 240) -> tuple[int, str]:
    """`ingot lab run`; its exit code and what it said."""
    command = [sys.executable, "-m", "ingot.cli.main", "lab", "run", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    return done.returncode, done.stdout + done.stderr


def test_shipped_scenarios_are_sound() -> None:
    assert {"power-on-storm", "thousand-deploys", "rack-loses-power", "partition"} <= set(shipped())
    assert {"database-restart", "slow-disks", "clock-jump", "controller-killed"} <= set(shipped())
    for name, path in shipped().items():
        scenario = read(path)
        assert scenario.title and scenario.text and scenario.act, name
        assert find(name) == path


def test_who_is_meant(tmp_path: Path) -> None:
    scenario = read(scenario_file(tmp_path, "act = []\n" + HEAD))
    assert scenario.chosen("all") == range(20)
    assert scenario.chosen("rack 2") == range(5, 10)
    assert scenario.chosen("25 %") == range(5)
    assert not scenario.needs


@pytest.mark.parametrize(
    ("act", "told"),
    [
        ('{do = "dance"}', "act"),
        ('{do = "verb"}', "needs the key 'verb'"),
        ('{do = "mains", machines = "rack 9"}', "racks are 1 to 4"),
        ('{do = "mains", machines = "some"}', "none of"),
        ('{do = "mains", who = "all"}', "who"),
        ('{do = "database"}', "postgresql"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, act: str, told: str) -> None:
    path = scenario_file(tmp_path, f"act = [{act}]\n" + HEAD)
    with pytest.raises(ScenarioError, match=told) as refused:
        read(path)
    assert "mine.toml" in str(refused.value) or "rack" in str(refused.value) or "some" in told


def test_what_another_cloud_cannot_do() -> None:
    code, said = play("clock-jump", "--cloud", "mine")
    assert code == 1 and "leave --cloud out" in said
    code, said = play("no-such-thing")
    assert code == 1 and "there are clock-jump" in said


def test_controller_killed_in_the_middle(tmp_path: Path) -> None:
    """Two machines get through; the third, enrolled with a wrong password, stops: fewer than expected."""
    path = scenario_file(
        tmp_path,
        'title = "t"\n[start]\nstate = "available"\n[fleet]\nmachines = 3\nspeed = 200\n'
        'protocols = ["redfish"]\npersonalities = {wrong-password = 0.34}\n'
        '[[act]]\ndo = "verb"\nverb = "active"\nwait = false\n'
        '[[act]]\nafter = 0.7\ndo = "controller"\nseconds = 1\n[expect]\nstate = "active"\n',
    )
    code, said = play(str(path), "--state", str(tmp_path / "state"))
    assert code == 1, said
    assert "the controller is gone for 1 s" in said
    assert "2 active" in said and "2 of 3 became active, fewer than 100%" in said, said
    assert "enroll (`manage` leads on)" in said and "credentials" in said.lower(), said
    assert "not as expected: 1 findings" in said, said


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[str, str]]:
    """A cloud that somebody else runs: the file that opens it, and its provisioning listener."""
    (folder / "agent").write_bytes(b"agent")
    listen, boot = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    config = folder / "ingot.toml"
    config.write_text(
        f'state = "{folder / "cloud"}"\nlisten = "{listen}"\n'
        f'[provisioning]\nlisten = "{boot}"\ndhcp = false\n'
        f'[ramdisk]\nkernel = "{folder / "agent"}"\ninitramfs = "{folder / "agent"}"\n'
        "[identity]\npassword_cost = 10\n"
    )
    command = [sys.executable, "-m", "ingot.cli.main", "serve", "--config", str(config)]
    with (folder / "serve.log").open("wb") as log:
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, env=clean_environment(), text=True
        )
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line.startswith("ingot is ready"), (line, (folder / "serve.log").read_text())
        yield str(folder / "cloud" / "clouds.yaml"), f"http://{boot}"
    finally:
        child.terminate()
        child.wait(60)


@pytest.mark.timeout(300)
def test_a_cloud_that_is_somebody_elses(tmp_path: Path) -> None:
    """Twice the same scenario, and nothing of it is left; what cannot work is said in one line."""
    path = scenario_file(
        tmp_path,
        'title = "t"\n[start]\nstate = "available"\n[fleet]\nmachines = 1\nspeed = 400\n'
        'protocols = ["redfish"]\n[[act]]\ndo = "verb"\nverb = "active"\n[expect]\nstate = "active"\n',
    )
    with serving(tmp_path) as (clouds, boot):
        here = (str(path), "--clouds", clouds, "--boot-url")
        code, said = play(*here, boot, "--cloud", "ingot-system")
        assert code == 0 and "1 active" in said and "as expected" in said, said
        code, said = play(*here, boot, "--cloud", "ingot-system")
        assert code == 1 and "sim-0000: remove them, or run with --remove" in said, said
        code, said = play(*here, boot, "--cloud", "ingot-system", "--remove")
        assert code == 0 and said.count("1 nodes are removed") == 2, said
        api = f"http://{boot.partition('//')[2]}"
        for cloud, url, told in (
            ("ingot-demo", boot, "Policy does not allow baremetal:node:create"),
            ("ingot-system", f"http://127.0.0.1:{free_port()}", "nobody answers at --boot-url"),
            ("ingot-system", f"{api}/v1", "is no provisioning listener"),
            ("other", boot, "no cloud 'other' found"),
        ):
            code, said = play(*here, url, "--cloud", cloud)
            assert code == 1 and told in said and "Traceback" not in said, said
    code, said = play(*here, boot, "--cloud", "ingot-system")
    assert code == 1 and "nobody answers" in said and "Traceback" not in said, said


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", sorted(shipped()))
def test_all_that_are_shipped(name: str, tmp_path: Path) -> None:
    code, said = play(name, "--state", str(tmp_path / name), seconds=5400)
    assert code == 0, said
