"""Names with a newline at their end are none, and a name that a header cannot carry does no harm."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_support import world

from ingot.kit import ids
from ingot.kit.faults import Invalid
from ingot.services.baremetal.nodes import guards

pytestmark = pytest.mark.anyio


async def test_newlines(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        made = await here.ask("POST", "/v1/nodes", {"driver": "fake-hardware", "name": "n"})
        uuid = made.json["uuid"]
        for path, body in (
            ("/v1/nodes", {"driver": "fake-hardware", "name": "m\n"}),
            ("/v1/portgroups", {"node_uuid": uuid, "name": "p\n", "address": "52:54:00:00:00:01"}),
            ("/v1/ports", {"node_uuid": uuid, "address": "52:54:00:00:00:01\n\n:"}),
            ("/v1/allocations", {"resource_class": "x", "name": "a\n"}),
            ("/v1/allocations", {"resource_class": "x", "traits": ["CUSTOM_A\n"]}),
            ("/v1/deploy_templates", {"name": "CUSTOM_T\n", "steps": []}),
        ):
            reply = await here.ask("POST", path, body)
            assert reply.status == 400, (path, reply.json)
        for name in ("CUSTOM_X%0A", "CUSTOM_X%0D", "CUSTOM_%C3%84"):
            reply = await here.ask("PUT", f"/v1/nodes/n/traits/{name}")
            assert reply.status == 400, name
        reply = await here.ask("PUT", "/v1/nodes/n/traits", {"traits": ["CUSTOM_X\n"]})
        assert reply.status == 400
        patch = [{"op": "replace", "path": "/name", "value": "n\n"}]
        assert (await here.ask("PATCH", "/v1/nodes/n", patch)).status == 400


def test_pure_ones() -> None:
    uuid = ids.new_uuid()
    assert ids.is_uuid(uuid) and not ids.is_uuid(uuid + "\n")
    for name in ("n\n", "n\r", "\nn"):
        assert not guards.logical_name(name) and not guards.logical_name(name, 1)
    with pytest.raises(Invalid):
        guards.traits(["CUSTOM_X\n"])


@pytest.mark.parametrize(
    ("document", "name"),
    [
        *(("driver_info", name) for name in guards.BOOT_WORDS["driver_info"]),
        *(("instance_info", name) for name in guards.BOOT_WORDS["instance_info"]),
    ],
)
async def test_words_of_boot_scripts_have_one_line(
    tmp_path: Path, document: str, name: str
) -> None:
    """What would be refused at the boot is refused when it is said."""
    async with world(tmp_path) as here:
        for evil in ("quiet\nboot", "quiet\r", "\x1b[2J"):
            body = {"driver": "fake-hardware", "name": "m", document: {name: evil}}
            assert (await here.ask("POST", "/v1/nodes", body)).status == 400
        body = {"driver": "fake-hardware", "name": "n", document: {name: "quiet console=ttyS0"}}
        assert (await here.ask("POST", "/v1/nodes", body)).status == 201
        patch = [{"op": "add", "path": f"/{document}/{name}", "value": "quiet\nboot"}]
        assert (await here.ask("PATCH", "/v1/nodes/n", patch)).status == 400
