"""Writes what Ironic's own code says of requests and replies as JSON; started by a Python that has Ironic.

usage: upstream.py FILE

{"routes": {"GET /v1/chassis": {"reply": [[first, last, schema], ...], "body": [...], "query": [...]}},
 "hidden": {"nodes": {"1": [names], ...}}}: the fields that a reply of that minor version must not show.
"""

import importlib
import json
import pathlib
import sys
import types

from ironic import api

V1 = "ironic.api.controllers.v1"
#: module, class -> where it is mounted
MOUNTED = {
    ("allocation", "AllocationsController"): "/v1/allocations",
    ("allocation", "NodeAllocationController"): "/v1/nodes/{}/allocation",
    ("bios", "NodeBiosController"): "/v1/nodes/{}/bios",
    ("chassis", "ChassisController"): "/v1/chassis",
    ("conductor", "ConductorsController"): "/v1/conductors",
    ("deploy_template", "DeployTemplatesController"): "/v1/deploy_templates",
    ("driver", "DriversController"): "/v1/drivers",
    ("driver", "DriverPassthruController"): "/v1/drivers/{}/vendor_passthru",
    ("driver", "DriverRaidController"): "/v1/drivers/{}/raid",
    ("event", "EventsController"): "/v1/events",
    ("firmware", "NodeFirmwareController"): "/v1/nodes/{}/firmware",
    ("inspection_rule", "InspectionRuleController"): "/v1/inspection_rules",
    ("portgroup", "PortgroupsController"): "/v1/portgroups",
    ("shard", "ShardController"): "/v1/shards",
    ("volume", "VolumeController"): "/v1/volume",
    ("volume_connector", "VolumeConnectorsController"): "/v1/volume/connectors",
    ("volume_target", "VolumeTargetsController"): "/v1/volume/targets",
}
#: function -> method, path below the mount
FUNCTIONS = {
    "get": ("GET", ""),
    "get_all": ("GET", ""),
    "get_one": ("GET", "/{}"),
    "detail": ("GET", "/detail"),
    "methods": ("GET", "/methods"),
    "properties": ("GET", "/{}/properties"),
    "logical_disk_properties": ("GET", "/logical_disk_properties"),
    "post": ("POST", ""),
    "patch": ("PATCH", "/{}"),
    "delete": ("DELETE", "/{}"),
}
KINDS = {
    "reply": "response_body_schemas",
    "body": "request_body_schemas",
    "query": "request_query_schemas",
}
#: Resources whose older replies are made by taking fields away.
HIDING = {"nodes": "node", "ports": "port", "portgroups": "portgroup", "allocations": "allocation"}
NEWEST = 115


def module(name):
    return importlib.import_module(f"{V1}.{name}")


def routes():
    found = {}
    for (name, controller), mount in MOUNTED.items():
        for function, body in vars(getattr(module(name), controller)).items():
            if function not in FUNCTIONS:
                continue
            method, below = FUNCTIONS[function]
            kinds = {
                kind: [[first, last, schema] for schema, first, last in held._schemas]
                for kind, attribute in KINDS.items()
                if (held := getattr(body, attribute, None))
            }
            if kinds:
                found[f"{method} {mount}{below}"] = kinds
    found["POST /v1/nodes"] = {"body": [[0, None, module("node").node_schema()]]}
    found["POST /v1/ports"] = {"body": [[0, None, module("port").PORT_SCHEMA]]}
    return found


class Whole(dict):
    """A resource that has every field, and notes which are taken from it."""

    def __init__(self):
        self.taken = set()

    def pop(self, name, *default):
        self.taken.add(name)

    def get(self, name, default=None):
        return default


def hidden():
    found = {}
    for resource, name in HIDING.items():
        hide = getattr(module(name), "hide_fields_in_newer_versions", None)
        if hide is None:
            continue
        found[resource] = {}
        for minor in range(1, NEWEST + 1):
            api.request = types.SimpleNamespace(version=types.SimpleNamespace(minor=minor))
            whole = Whole()
            hide(whole)
            found[resource][minor] = sorted(whole.taken)
    return found


if __name__ == "__main__":
    found = {"routes": routes(), "hidden": hidden()}
    pathlib.Path(sys.argv[1]).write_text(json.dumps(found))
