"""One good body for everything that the Bare Metal API can be asked to make, and a world that has one of each."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from typing import Any

from api_support import World

Made = dict[str, str]
_counter = itertools.count(1)


def _mac() -> str:
    return "52:54:00:aa:{:02x}:{:02x}".format(*divmod(next(_counter), 256))


def _name(kind: str) -> str:
    return f"{kind}-{next(_counter)}"


def _id() -> str:
    return str(uuid.uuid4())


_STEP = {"interface": "deploy", "step": "write_image", "args": {}}

#: Path of a collection -> a body that it takes, with every field that a client may give. In the order in
#: which things need each other.
BODIES: dict[str, Callable[[Made], dict[str, Any]]] = {
    "/v1/chassis": lambda made: {"uuid": _id(), "description": "a rack", "extra": {"a": 1}},
    "/v1/nodes": lambda made: {
        "driver": "fake-hardware",
        "uuid": _id(),
        "name": _name("node"),
        "resource_class": "large",
        "properties": {"cpus": 4},
        "extra": {"a": 1},
        "driver_info": {"fake_password": "x"},
        "description": "one of each",
        "owner": "p1",
        "lessee": "p2",
        "shard": "s1",
        "network_data": {},
        "instance_info": {"image_source": "x"},
        "conductor_group": "",
        "automated_clean": True,
    },
    "/v1/portgroups": lambda made: {
        "uuid": _id(),
        "node_uuid": made["/v1/nodes"],
        "address": _mac(),
        "name": _name("group"),
        "extra": {"a": 1},
        "mode": "802.3ad",
        "properties": {"miimon": 100},
        "standalone_ports_supported": True,
        "physical_network": "p",
        "category": "c",
    },
    "/v1/ports": lambda made: {
        "uuid": _id(),
        "node_uuid": made["/v1/nodes"],
        "address": _mac(),
        "name": _name("port"),
        "extra": {"a": 1},
        "pxe_enabled": True,
        "local_link_connection": {"switch_id": "0a:1b:2c:3d:4e:5f", "port_id": "Ethernet1"},
        "physical_network": "p",
        "is_smartnic": False,
        "description": "left",
        "vendor": "v",
        "category": "c",
    },
    "/v1/volume/connectors": lambda made: {
        "uuid": _id(),
        "node_uuid": made["/v1/nodes"],
        "type": "iqn",
        "connector_id": f"iqn.2026-01.org.example:{_name('host')}",
        "extra": {"a": 1},
    },
    "/v1/volume/targets": lambda made: {
        "uuid": _id(),
        "node_uuid": made["/v1/nodes"],
        "volume_type": "iscsi",
        "volume_id": _id(),
        "boot_index": next(_counter),
        "properties": {"target_lun": 1},
        "extra": {"a": 1},
    },
    "/v1/allocations": lambda made: {
        "uuid": _id(),
        "name": _name("allocation"),
        "resource_class": "large",
        "traits": ["CUSTOM_A"],
        "candidate_nodes": [],
        "extra": {"a": 1},
    },
    "/v1/deploy_templates": lambda made: {
        "uuid": _id(),
        "name": f"CUSTOM_TEMPLATE_{next(_counter)}",
        "steps": [{**_STEP, "priority": 50}],
        "extra": {"a": 1},
    },
    "/v1/runbooks": lambda made: {
        "uuid": _id(),
        "name": f"CUSTOM_RUNBOOK_{next(_counter)}",
        "steps": [{**_STEP, "order": 1}],
        "extra": {"a": 1},
        "public": False,
    },
    "/v1/inspection_rules": lambda made: {
        "uuid": _id(),
        "description": "a rule",
        "priority": 10,
        "sensitive": False,
        "phase": "main",
        "conditions": [{"op": "is-true", "args": {"value": "{inventory}"}}],
        "actions": [{"op": "set-attribute", "args": {"path": "/extra/x", "value": "y"}}],
    },
    "/v1/events": lambda made: {
        "events": [
            {
                "event": "network.bind_port",
                "port_id": _id(),
                "mac_address": _mac(),
                "status": "ACTIVE",
                "device_id": made["/v1/nodes"],
                "binding:host_id": made["/v1/nodes"],
                "binding:vnic_type": "baremetal",
            }
        ]
    },
}


async def furnish(api: World) -> Made:
    """Make one of each thing; path of its collection -> uuid. Collections that are not there are left out."""
    there = {
        operation.path
        for service in api.app.services
        for operation in service.operations
        if operation.method == "POST" and "{" not in operation.path
    }
    unknown = there - BODIES.keys()
    assert not unknown, f"no example of a body for {sorted(unknown)}"
    made: Made = {}
    for path, body in BODIES.items():
        if path in there:
            reply = await api.ask("POST", path, body(made))
            assert reply.status in (201, 204), (path, reply.status, reply.json)
            if reply.json:
                made[path] = reply.json["uuid"]
            if path == "/v1/nodes":
                await api.force(made[path], power_state="power off")  # volumes want it so
    return made
