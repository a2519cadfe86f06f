"""The walk (`tools/walk.py`) shows the way of a request: of each sort, in the order of the layers."""

from __future__ import annotations

import pytest

from tools.walk import WALKS, Watch, told, walk

pytestmark = pytest.mark.anyio

#: Files through which each goes, in this order.
WAYS = {
    "patch": (
        "kit/http/server.py",
        "services/identity/service.py",
        "services/baremetal/api/nodes.py",
        "services/baremetal/nodes/editing.py",
        "services/baremetal/nodes/showing.py",
    ),
    "server": (
        "services/compute/api/servers.py",
        "services/compute/service.py",
        "services/compute/workflows/build.py",
        "services/baremetal/workflows/deploy.py",
    ),
    "heartbeat": ("kit/http/server.py", "services/baremetal/ramdisk/api.py", "workflow/store.py"),
}


@pytest.mark.parametrize("name", WALKS)
async def test_a_walk_goes_down_the_layers(name: str) -> None:
    watch = await walk(name)
    files = [file for file, _ in watch.hops]
    assert [files.index(file) for file in WAYS[name]] == sorted(
        files.index(file) for file in WAYS[name]
    )
    assert told(watch, every=False)[-1] == f"{len(set(files))} files, {len(files)} changes of file"
    assert len(told(watch, every=True)) == len(files)


def test_nothing_is_noted_outside_of_the_watch() -> None:
    assert Watch().hops == []
