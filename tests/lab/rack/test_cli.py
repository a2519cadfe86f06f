"""`ingot lab` as a person or a script uses it."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ingot.cli import lab
from ingot.lab import missing_packages
from ingot.lab.rack import namespace

PROGRAM = (
    "import argparse, sys; from ingot.cli import lab; p = argparse.ArgumentParser();"
    "lab.configure(p); sys.exit(lab.run(p.parse_args()))"
)
RACK = '[[machine]]\nname = "one"\nfirmware = "bios"\nmemory_mb = 256\nbmc.kind = "ipmi"\n'


def ingot_lab(state: Path, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", PROGRAM, name, "--state", str(state), *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def test_what_is_not_up_says_what_to_do(tmp_path: Path) -> None:
    done = ingot_lab(tmp_path, "status")
    assert (done.returncode, done.stdout) == (1, "")
    assert "ingot lab status: no rack under" in done.stderr
    assert "`ingot lab up` makes one" in done.stderr


def test_a_wrong_rack_file_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "rack.toml").write_text(RACK + "cpus = 0\n")
    done = ingot_lab(tmp_path / "state", "up", str(tmp_path / "rack.toml"))
    assert done.returncode == 1
    assert "rack.toml: machine 'one': cpus: not between 1 and 64" in done.stderr


def test_power_takes_only_actions_that_exist() -> None:
    parser = argparse.ArgumentParser()
    lab.configure(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["power", "one", "explode"])


@pytest.mark.qemu
@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
@pytest.mark.skipif(bool(missing_packages()), reason=f"packages: {missing_packages()}")
def test_foreground_rack_ends_with_its_standard_input(tmp_path: Path) -> None:
    name, state = f"igr-c{os.getpid()}", tmp_path / "state"
    (tmp_path / "rack.toml").write_text(f'name = "{name}"\naccel = "tcg"\n{RACK}')
    argv = [sys.executable, "-c", PROGRAM, "up", "--foreground", "--state", state]
    up = subprocess.Popen(
        [*argv, tmp_path / "rack.toml"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert up.stdin is not None and up.stdout is not None
    assert up.stdout.readline() == f"rack {name}: namespace {name}, prov0 172.30.0.1/24\n"

    assert ingot_lab(state, "power", "one", "on").returncode == 0
    status = json.loads(ingot_lab(state, "status", "-f", "json").stdout)
    assert [(m["name"], m["power"]) for m in status["machines"]] == [("one", "on")]
    nodes = json.loads(ingot_lab(state, "enrol-file").stdout)["nodes"]
    assert nodes[0]["driver_info"]["ipmi_address"] == "172.30.1.11"
    inside = ingot_lab(state, "exec", "--", "ip", "-br", "addr", "show", "prov0")
    assert "172.30.0.1/24" in inside.stdout
    again = ingot_lab(state, "up", str(tmp_path / "rack.toml"))
    assert "is up already" in again.stderr

    up.stdin.close()
    assert up.wait(20) == 0
    up.stdout.close()
    assert not namespace.exists(name)
    assert ingot_lab(state, "down").returncode == 0  # nothing left to do is no fault
