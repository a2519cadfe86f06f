"""Which of our files a request goes through, in which order: `python -m tools.walk patch|server|heartbeat [--hops]`.

A cloud with fake hardware is built in this process, and what is asked of it is watched by Python's own profiler hook,
in all threads. One line for each file, in the order in which it is first entered: how often it is entered from
another file, and which function was the first. `--hops` prints every change of file instead.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

import ingot
from ingot.app.build import build
from ingot.app.cloud import Cloud
from ingot.services.identity.login import log_in
from ingot.services.identity.schemas import (
    Auth,
    AuthIdentity,
    NamedIn,
    PasswordMethod,
    PasswordUser,
    ScopeBody,
)
from ingot.settings import load
from tests.house.asgi import ask

SOURCE = str(Path(ingot.__file__).parent)
SECRET = "walk-secret"
_SETTINGS = """
[baremetal]
automated_clean = false
hardware_types = ["fake-hardware"]

[provisioning]
listen = "127.0.0.1:8088"

[ramdisk]
kernel = "{folder}/kernel"
initramfs = "{folder}/initramfs"
"""


@dataclass
class Watch:
    """Notes calls of functions of ours while it is entered. hops: (file, function) where a thread goes to another file.

    `install` comes before the cloud: threads take the hook over when they begin.
    """

    hops: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    _on: bool = False
    _here: threading.local = field(default_factory=threading.local)

    def install(self) -> None:
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def remove(self) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def __enter__(self) -> Watch:
        self._on = True
        return self

    def __exit__(self, *_: object) -> None:
        self._on = False

    def _note(self, frame: FrameType, event: str, _arg: Any) -> None:
        if not self._on or event != "call":
            return
        name = frame.f_code.co_filename
        if not name.startswith(SOURCE) or frame.f_code.co_name == "<module>":
            return
        file = name[len(SOURCE) + 1 :]
        if getattr(self._here, "file", "") != file:
            self._here.file = file
            self.hops.append((file, frame.f_code.co_name))


class Client:
    """Asks a cloud in this process as its administrator."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._web = cloud.listeners.api().asgi
        self._boot = cloud.listeners.boot().asgi
        self._token = ""

    async def enter(self) -> None:
        made = await self.cloud.identity.bootstrap(SECRET)
        shown = PasswordUser(id=made.admin_user_id, password=SECRET)
        whole = AuthIdentity(["password"], password=PasswordMethod(shown))
        scope = ScopeBody(project=NamedIn(made.admin_project_id))
        self._token, _ = await log_in(self.cloud.identity, Auth(whole, scope))

    async def __call__(
        self, method: str, path: str, body: Any = None, *, boot: bool = False
    ) -> Any:
        data = b"" if body is None else msgspec.json.encode(body)
        headers = {"content-type": "application/json", "content-length": str(len(data))}
        headers["X-OpenStack-Ironic-API-Version"] = "latest"
        headers |= {} if boot else {"X-Auth-Token": self._token}
        status, text = await ask(self._boot if boot else self._web, method, path, headers, data)
        if status >= 400:
            raise SystemExit(f"{method} {path}: {status} {text.decode()}")
        return msgspec.json.decode(text) if text else None

    async def node(self, *verbs: tuple[str, str], **more: Any) -> dict[str, Any]:
        """A node with one port, led by these verbs to their states; without any it is available."""
        body = {"driver": "fake-hardware", "name": "one", "resource_class": "small", **more}
        node = await self("POST", "/baremetal/v1/nodes", body)
        port = {"node_uuid": node["uuid"], "address": "02:00:00:00:00:01"}
        await self("POST", "/baremetal/v1/ports", port)
        for verb, state in verbs or (("manage", "manageable"), ("provide", "available")):
            path = f"/baremetal/v1/nodes/{node['uuid']}"
            await self("PUT", f"{path}/states/provision", {"target": verb})
            await self.until(path, "provision_state", state)
        return node

    async def until(self, path: str, name: str, wanted: str, inner: str = "") -> None:
        """Wait until a field has this value; fails after a minute."""
        async with asyncio.timeout(60):
            while True:
                found = await self("GET", path)
                if (found[inner] if inner else found)[name] == wanted:
                    return
                await asyncio.sleep(0.05)


@asynccontextmanager
async def cloud() -> AsyncIterator[Client]:
    with tempfile.TemporaryDirectory(prefix="ingot-walk-") as folder:
        config = Path(folder) / "ingot.toml"
        config.write_text(_SETTINGS.format(folder=folder))
        for name in ("kernel", "initramfs"):
            (Path(folder) / name).write_bytes(b"none")
        made = build(load(config, {}, state=folder))
        await made.open()
        client = Client(made)
        try:
            await client.enter()
            yield client
        finally:
            await made.close()


# -- what is asked ---------------------------------------------------------------------------------


async def patch(client: Client, watch: Watch) -> None:
    """PATCH /v1/nodes/{id}: one field of a node."""
    node = await client.node()
    with watch:
        change = [{"op": "replace", "path": "/extra", "value": {"rack": "7"}}]
        await client("PATCH", f"/baremetal/v1/nodes/{node['uuid']}", change)


async def server(client: Client, watch: Watch) -> None:
    """POST /servers, until the server is active on a machine of fake hardware."""
    await client.node()
    image = await client(
        "POST", "/image/v2/images", {"name": "i", "disk_format": "raw", "container_format": "bare"}
    )
    headers = {"content-type": "application/octet-stream", "X-Auth-Token": client._token}
    path = f"/image/v2/images/{image['id']}/file"
    await ask(client._web, "PUT", path, {**headers, "content-length": "6"}, b"octets")
    flavor = {"name": "f", "ram": 1, "vcpus": 1, "disk": 1}
    made = await client("POST", "/compute/v2.1/flavors", {"flavor": flavor})
    specs = {"extra_specs": {"resources:CUSTOM_SMALL": "1"}}
    await client("POST", f"/compute/v2.1/flavors/{made['flavor']['id']}/os-extra_specs", specs)
    body = {"name": "s", "imageRef": image["id"], "flavorRef": made["flavor"]["id"], "networks": []}
    with watch:
        order = await client("POST", "/compute/v2.1/servers", {"server": body})
        path = f"/compute/v2.1/servers/{order['server']['id']}"
        await client.until(path, "status", "ACTIVE", "server")


async def heartbeat(client: Client, watch: Watch) -> None:
    """POST /v1/heartbeat/{id}: an agent says that it is there."""
    verbs = (("manage", "manageable"), ("inspect", "inspect wait"))
    node = await client.node(*verbs, inspect_interface="agent")
    path = f"/v1/lookup?addresses=02:00:00:00:00:01&node_uuid={node['uuid']}"
    found = await client("GET", path, boot=True)
    token = found["config"]["agent_token"]
    body = {"callback_url": "https://127.0.0.1:9999", "agent_token": token, "agent_version": "10"}
    with watch:
        await client("POST", f"/v1/heartbeat/{node['uuid']}", body, boot=True)


WALKS: dict[str, Callable[[Client, Watch], Awaitable[None]]] = {
    "patch": patch,
    "server": server,
    "heartbeat": heartbeat,
}


def told(watch: Watch, every: bool) -> list[str]:
    """The lines to print."""
    if every:
        return [f"{at:5}  {file:58} {name}" for at, (file, name) in enumerate(watch.hops, 1)]
    first: dict[str, str] = {}
    counts: dict[str, int] = {}
    for file, name in watch.hops:
        first.setdefault(file, name)
        counts[file] = counts.get(file, 0) + 1
    lines = [
        f"{at:3}  {file:58} {counts[file]:6} x  {name}"
        for at, (file, name) in enumerate(first.items(), 1)
    ]
    return [*lines, f"{len(first)} files, {len(watch.hops)} changes of file"]


async def walk(name: str) -> Watch:
    """The watched part of one of the walks."""
    watch = Watch()
    watch.install()
    try:
        async with cloud() as client:
            await WALKS[name](client, watch)
    finally:
        watch.remove()
    return watch


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("walk", choices=list(WALKS))
    parser.add_argument("--hops", action="store_true", help="every change of file")
    args = parser.parse_args()
    print("\n".join(told(asyncio.run(walk(args.walk)), args.hops)))


if __name__ == "__main__":
    main()
