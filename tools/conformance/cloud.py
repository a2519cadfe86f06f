"""A cloud to be judged: one `ingot serve` on loopback with imaginary machines, and what clients need of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PASSWORD = "conformance"
#: What the suites look for.
IMAGE, FLAVOR, NETWORK = "conformance-image", "conformance-flavor", "conformance-network"
_READY_SECONDS = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without other clouds, settings and module paths."""
    foreign = ("OS_", "INGOT_", "OPENSTACKSDK_", "PYTHONPATH", "VIRTUAL_ENV")
    return {**{k: v for k, v in os.environ.items() if not k.startswith(foreign)}, **more}


@dataclass(frozen=True)
class Cloud:
    """A running cloud. folder: for everything about it; state: the server's own part of it."""

    folder: Path
    url: str

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def clouds_yaml(self) -> Path:
        return self.state / "clouds.yaml"

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[Any, Mapping[str, str]]:
        """One request; raises HTTPError for anything but success."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(headers or {})}
        request = urllib.request.Request(self.url + path, data, sent, method=method)
        with urllib.request.urlopen(request, timeout=30) as reply:
            text = reply.read()
            return (json.loads(text) if text else None), reply.headers

    def token(self, scope: Mapping[str, Any] | None = None) -> str:
        """A token of the administrator; of project admin unless `scope` says otherwise."""
        domain = {"id": "default"}
        user = {"name": "admin", "domain": domain, "password": PASSWORD}
        auth = {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": scope or {"project": {"name": "admin", "domain": domain}},
        }
        _, headers = self.ask("POST", "/identity/v3/auth/tokens", {"auth": auth})
        return headers["X-Subject-Token"]

    def furnish(self) -> None:
        """A network, an image and a flavor, as a cloud with servers has them."""
        login = {"X-Auth-Token": self.token()}
        image = {
            "name": IMAGE,
            "disk_format": "raw",
            "container_format": "bare",
            "visibility": "public",
        }
        made, _ = self.ask("POST", "/image/v2/images", image, login)
        octets = {**login, "Content-Type": "application/octet-stream"}
        self.ask("PUT", f"/image/v2/images/{made['id']}/file", b"\0" * 1024, octets)
        flavor = {"flavor": {"name": FLAVOR, "ram": 1024, "vcpus": 1, "disk": 10}}
        self.ask("POST", "/compute/v2.1/flavors", flavor, login)
        network = {
            "name": NETWORK,
            "shared": True,
            "provider:network_type": "flat",
            "provider:physical_network": "conformance",
        }
        self.ask("POST", "/network/v2.0/networks", {"network": network}, login)


@contextmanager
def serving(folder: Path) -> Iterator[Cloud]:
    """Start `ingot serve` with all its data under `folder`; it ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    cloud = Cloud(folder, f"http://127.0.0.1:{port}")
    file = folder / "ingot.toml"
    file.write_text(
        f'state = "{cloud.state}"\nlisten = "127.0.0.1:{port}"\n'
        f'[identity]\nadmin_password = "{PASSWORD}"\npassword_cost = 10\n'
        "[baremetal]\npublic_ramdisk_api = true\n[deadlines]\npoll = 0.05\n"
        '[egress]\nallow = ["127.0.0.0/8"]\n'
    )
    words = [sys.executable, "-m", "ingot.cli.main", "serve", "--config", str(file)]
    source = str(Path(__file__).parents[2] / "src")
    with (folder / "serve.log").open("wb") as log:
        child = subprocess.Popen(
            words,
            cwd=folder,
            env=clean_environment(PYTHONPATH=source),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _await(cloud, child)
        cloud.furnish()
        yield cloud
    finally:
        child.terminate()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _await(cloud: Cloud, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    log = cloud.folder / "serve.log"
    while "ingot is ready" not in (text := log.read_text(errors="replace")):
        if child.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"`ingot serve` did not get ready:\n{text[-3000:]}")
        time.sleep(0.1)
