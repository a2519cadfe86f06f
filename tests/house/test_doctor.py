"""The doctor, as a person calls it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ingot.cli import doctor


def call(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ingot.cli.main", "doctor", *words]
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, check=False)


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    return {found["matter"]: found for found in json.loads(done.stdout)["findings"]}


def test_a_busy_port_is_a_fault_with_a_way_out(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = call("-f", "json", "--state", str(tmp_path), "--listen", f"127.0.0.1:{port}")
    found = findings(done)[f"port {port}/tcp"]
    assert done.returncode == 1 and found["mark"] == "fault"
    assert "in use" in found["found"] and f":{port}" in found["advice"]


def test_a_report_for_people_names_each_matter(tmp_path: Path) -> None:
    done = call("--state", str(tmp_path))
    for word in ("python", "packages to run", "rights", "memory", "state folder", "clock"):
        assert word in done.stdout
    assert (done.returncode == 0) == ("This host is fit" in done.stdout)
    assert done.stderr == ""


def test_missing_packages_come_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.hostfacts, "which", lambda _program: None)
    monkeypatch.setattr(doctor.hostfacts, "dpkg_installed", lambda _package: False)
    run, demo, test = doctor.check_packages("demo")
    assert run.mark == demo.mark == "fault" and test.mark == "note"
    assert "apt-get install -y --no-install-recommends" in run.advice
    assert {"dnsmasq-base", "ipmitool"} <= set(run.advice.split())
    assert "postgresql" in test.advice.split()
    # what one line asks for, the next does not ask again
    assert not set(run.advice.split()[4:]) & set(demo.advice.split()[4:])


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="drops root")
def test_a_plain_user_is_told_what_root_is_for() -> None:
    script = (
        "import os; os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
        "from ingot.cli import doctor\n"
        "print([f.mark + f.advice for p in ('run', 'demo') for f in doctor.check_rights(p)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", "import ingot.cli.hostfacts, ingot.cli.doctor\n" + script],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    run, demo = json.loads(done.stdout.replace("'", '"'))
    assert run.startswith("note") and "sudo" in run
    assert demo.startswith("fault") and "sudo" in demo


def test_packages_can_be_asked_for_alone() -> None:
    done = call("--packages", "run")
    assert done.returncode == 0
    assert "dnsmasq-base" in done.stdout.splitlines()


def test_nonsense_is_refused() -> None:
    assert call("--listen", "nowhere").returncode == 2
    assert call("--for", "fun").returncode == 2
