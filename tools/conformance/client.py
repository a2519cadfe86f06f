"""Every command of the stock `openstack baremetal`, run against a real cloud, and what is seen afterwards."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from tools.conformance.cloud import Cloud, clean_environment

SCRIPT = Path(__file__).with_name("client.txt")
SHELL = Path(__file__).with_name("shell.py")
GROUP = "openstack.baremetal.v1"
#: How long a state may take to come after the command that asked for it.
_SECONDS = 30
_MORE = {"nodes": [{"name": "more", "driver": "fake-hardware"}]}


@dataclass(frozen=True)
class Line:
    """One line of the script; see its head."""

    command: str
    where: str
    what: str

    @property
    def name(self) -> str:
        """The command's own words, without arguments."""
        words = self.command.split()
        known = names()
        for count in range(len(words), 0, -1):
            if " ".join(words[:count]) in known:
                return " ".join(words[:count])
        raise ValueError(f"{SCRIPT.name}: there is no command {self.command!r}")


def names() -> frozenset[str]:
    """All commands that the client has, without the first word `baremetal`."""
    found = entry_points(group=GROUP)
    return frozenset(entry.name.replace("_", " ").removeprefix("baremetal ") for entry in found)


def script() -> list[Line]:
    """The lines of the script. Raises ValueError for one that is not three columns."""
    found: list[Line] = []
    for text in SCRIPT.read_text().splitlines():
        if text.strip() and not text.startswith("#"):
            parts = [part.strip() for part in text.rsplit(" | ", 2)]
            if len(parts) != 3:
                raise ValueError(f"{SCRIPT.name}: {text!r} is not COMMAND | WHERE | WHAT")
            found.append(Line(*parts))
    return found


class Client:
    """A stock client process; `say` runs one command."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def say(self, words: list[str]) -> tuple[int, str]:
        """Exit code and what was written."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the client ended")
        told = json.loads(answer)
        return told["code"], told["out"]


@contextmanager
def client(cloud: Cloud) -> Iterator[Client]:
    """The stock client, logged in with system scope."""
    variables = {"OS_CLIENT_CONFIG_FILE": str(cloud.clouds_yaml), "OS_CLOUD": "ingot-system"}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(SHELL), str(cloud.folder / "client.out")],
        cwd=cloud.folder,
        env=clean_environment(**variables, COLUMNS="400", TERM="dumb"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(cloud.folder / "client.log").open("w"),
        text=True,
    )
    try:
        yield Client(process)
    finally:
        process.terminate()
        process.wait(10)


def run(cloud: Cloud) -> list[tuple[Line, str]]:
    """Run the script; each line with what went wrong, "" where nothing did."""
    (cloud.folder / "more.json").write_text(json.dumps(_MORE))
    kept = {"$FOLDER": str(cloud.folder)}
    token = cloud.token({"system": {"all": True}})
    results: list[tuple[Line, str]] = []
    with client(cloud) as stock:
        for line in script():
            command, what = line.command, line.what
            for name, value in kept.items():
                command, what = command.replace(name, value), what.replace(name, value)
            code, out = stock.say(["baremetal", *shlex.split(command)])
            if line.where == "keep":
                kept[f"${what}"] = (out.split() or ["nothing"])[0]
                wrong = "" if code == 0 and out.strip() else out or "no output"
            elif line.where in ("output", "error"):
                seen = not out.strip() if what == "(nothing)" else what in out
                good = seen and bool(code) is (line.where == "error")
                wrong = "" if good else f"ended with {code}; no {what!r} in {out!r}"
            else:
                wrong = out if code else _compare(cloud, token, line.where, what)
            results.append((line, wrong))
    return results


def _compare(cloud: Cloud, token: str, path: str, what: str) -> str:
    """Wait until the API shows it; what it shows instead."""
    deadline = time.monotonic() + _SECONDS
    while True:
        shown = _show(cloud, token, path)
        if what == "gone":
            good = shown is None
        else:
            field, _, text = what.partition(" = ")
            shown = shown and shown.get(field)
            good = shown == _value(text)
        if good:
            return ""
        if time.monotonic() > deadline:
            return f"{path} shows {json.dumps(shown)}, not {what}"
        time.sleep(0.05)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _show(cloud: Cloud, token: str, path: str) -> Any:
    headers = {"X-Auth-Token": token, "X-OpenStack-Ironic-API-Version": "latest"}
    try:
        return cloud.ask("GET", f"/baremetal/v1/{path}", headers=headers)[0]
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise
