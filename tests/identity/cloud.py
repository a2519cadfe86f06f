"""Identity and image on a loopback socket, in a thread with its own loop, for stock clients to judge."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import uvicorn

from ingot.kit.api.operations import Service
from ingot.kit.auth.policy import Policy
from ingot.kit.db.database import Database
from ingot.kit.http.server import WebApp, plain_envelope
from ingot.kit.tasks.clock import SystemClock
from ingot.kit.tasks.events import EventHub
from ingot.services.identity import (
    Bootstrap,
    CatalogueEntry,
    Identity,
    IdentitySettings,
    write_clouds_yaml,
)
from ingot.services.identity.api import make_service as identity_api
from ingot.services.image import Images, ImageSettings
from ingot.services.image.api import make_service as image_api
from ingot.services.image.api import provisioning_operations
from ingot.workflow.api import Timeline

T = TypeVar("T")
OPENSTACK = Path(sys.executable).with_name("openstack")


@dataclass
class Cloud:
    """A running cloud of two rooms. `run` calls its rooms on their own loop."""

    state: Path
    url: str
    identity: Identity
    images: Images
    bootstrap: Bootstrap
    loop: asyncio.AbstractEventLoop
    stop: Callable[[], None] = field(repr=False)
    #: What projects have in services that are not here: how many of each kind.
    held: dict[str, dict[str, int]]

    def run(self, work: Coroutine[Any, Any, T], timeout: float = 30) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    def client(
        self, *words: str, cloud: str = "ingot", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The stock `openstack` command. With `env`, that alone says who asks."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
        who = env or {"OS_CLOUD": cloud, "OS_CLIENT_CONFIG_FILE": str(self.state / "clouds.yaml")}
        return subprocess.run(
            [str(OPENSTACK), *words],
            env={**clean, **who},
            cwd=self.state,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def ok(self, *words: str, cloud: str = "ingot") -> str:
        """The same, expected to succeed; its output without the last line break."""
        done = self.client(*words, cloud=cloud)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout.rstrip("\n")


@contextmanager
def running(
    state: Path,
    database: str = "",
    password_cost: int = 10,
    token_seconds: int = 4 * 3600,
    **image_options: Any,
) -> Iterator[Cloud]:
    """Serve until the block ends. database: a URL; a file in `state` when empty."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(128)  # clients wait in the queue until the server takes them
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    ready: list[Cloud] = []
    held: dict[str, dict[str, int]] = {}
    failed: list[BaseException] = []
    event = threading.Event()

    async def serve() -> None:
        db = Database(database) if database else Database.at(state / "ingot.db")
        clock = SystemClock()
        identity = Identity(
            db,
            clock,
            IdentitySettings(
                state_dir=state, password_cost=password_cost, token_seconds=token_seconds
            ),
            [CatalogueEntry("image", "glance", "/image")],
            lambda _conn, project_id: held.get(project_id, {}),
        )
        options = {"deploy_base_url": f"{url}/provisioning", "reserve_bytes": 0, **image_options}
        images = Images(db, clock, ImageSettings(state_dir=state, **options))
        hub = EventHub(db, clock)
        await db.create_all()
        await hub.open()
        await images.start()
        made = await identity.bootstrap()
        if made.admin_password and made.demo_password:
            write_clouds_yaml(
                state / "clouds.yaml",
                f"{url}/identity",
                admin_password=made.admin_password,
                demo_password=made.demo_password,
            )
        provisioning = Service(
            "provisioning",
            "/provisioning",
            provisioning_operations(images),
            plain_envelope,
            Policy({}),
        )
        who = identity.authenticate
        timeline = Timeline(db, hub).service(who)
        app = WebApp([identity_api(identity), image_api(images, who), timeline, provisioning])
        server = uvicorn.Server(uvicorn.Config(app.asgi, log_level="error", lifespan="off"))

        def stop() -> None:
            server.should_exit = True

        loop = asyncio.get_running_loop()
        ready.append(Cloud(state, url, identity, images, made, loop, stop, held))
        event.set()
        await server.serve([sock])
        await hub.close()
        await identity.close()
        await images.close()
        await db.close()

    def body() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failed.append(error)
        finally:
            event.set()

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    assert event.wait(30), "the cloud did not come up in 30 s"
    if failed:
        raise failed[0]
    cloud = ready[0]
    try:
        yield cloud
    finally:
        cloud.stop()
        thread.join(20)
        sock.close()
