"""The Bare Metal API (v1, microversions 1.1 to 1.115) as a table of operations.

A resource is a class of handlers and its rows here; routing, microversions, policy and checks of bodies
and queries come from the rows. What is not in the table is not there (404).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ingot.kit.api.operations import Authenticator, Operation, Service
from ingot.kit.api.versions import Microversions
from ingot.kit.faults import Fault, Kind
from ingot.services.baremetal.api import consoles, hardware, management, passthru
from ingot.services.baremetal.api.allocations import (
    AllocationCreate,
    AllocationQuery,
    Allocations,
)
from ingot.services.baremetal.api.conductors import ConductorQuery, Conductors
from ingot.services.baremetal.api.drivers import DriverQuery, Drivers
from ingot.services.baremetal.api.inspection_rules import InspectionRules, RuleListQuery
from ingot.services.baremetal.api.nodes import (
    FieldsQuery,
    NodeListQuery,
    NodeQuery,
    Nodes,
    PatchQuery,
    ValidateQuery,
)
from ingot.services.baremetal.api.part_rows import part_operations
from ingot.services.baremetal.api.records import RecordQuery
from ingot.services.baremetal.api.root import MAXIMUM, MINIMUM, Roots
from ingot.services.baremetal.api.rows import late as _late
from ingot.services.baremetal.api.rows import system_wide as _global
from ingot.services.baremetal.api.states import HistoryQuery, States
from ingot.services.baremetal.api.templates import DeployTemplates, RunbookQuery, Runbooks
from ingot.services.baremetal.inspection.rules.checking import RuleBody
from ingot.services.baremetal.nodes import schemas
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.templates.service import RunbookCreate, TemplateCreate

if TYPE_CHECKING:
    from ingot.services.baremetal.service import Baremetal

VERSIONS = Microversions(
    service_type="baremetal",
    minimum=MINIMUM,
    maximum=MAXIMUM,
    default=MINIMUM,
    own_header="X-OpenStack-Ironic-API-Version",
    extent_headers=(
        "X-OpenStack-Ironic-API-Minimum-Version",
        "X-OpenStack-Ironic-API-Maximum-Version",
    ),
)
#: A config drive may come with a verb.
PROVISION_BODY = 64 << 20

_encoder = msgspec.json.Encoder()


def envelope(fault: Fault, status: int) -> tuple[bytes, str]:
    """The Bare Metal API's error: JSON in which a text is JSON again."""
    inner = {
        "faultcode": "Server" if status >= 500 else "Client",
        "faultstring": fault.sentence(),
        "debuginfo": None,
    }
    text = _encoder.encode(inner).decode()
    return _encoder.encode({"error_message": text}), "application/json"


def operations(baremetal: Baremetal) -> Sequence[Operation]:
    """All rows."""
    return (
        *_nodes(Nodes(baremetal)),
        *_states(States(baremetal)),
        *hardware.operations(hardware.Hardware(baremetal)),
        *management.operations(management.Management(baremetal)),
        *consoles.operations(consoles.NodeConsoles(baremetal)),
        *passthru.operations(passthru.Passthru(baremetal)),
        *part_operations(baremetal),
        *_allocations(Allocations(baremetal)),
        *_deploy_templates(DeployTemplates(baremetal)),
        *_runbooks(Runbooks(baremetal)),
        *_drivers(Drivers(baremetal)),
        *_conductors(Conductors(baremetal)),
        *_inspection_rules(InspectionRules(baremetal)),
    )


def _discovery(roots: Roots) -> tuple[Operation, ...]:
    return (
        Operation("GET", "", roots.root, None, title="Versions"),
        Operation("GET", "/v1", roots.v1, None, title="Resources of version 1"),
    )


def _nodes(nodes: Nodes) -> tuple[Operation, ...]:
    one = "/v1/nodes/{id}"
    kept: dict[str, Any] = {"status": 202}
    gone: dict[str, Any] = {"status": 204}
    return (
        _late("GET", "/v1/nodes", nodes.list, "node:list", query=NodeListQuery),
        _late(
            "POST",
            "/v1/nodes",
            nodes.create,
            "node:create",
            body=schemas.NodeCreate,
            status=201,
        ),
        _late("GET", "/v1/nodes/detail", nodes.list_whole, "node:list", query=NodeQuery),
        _late(
            "GET",
            "/v1/nodes/validate",
            nodes.validate_by_query,
            "node:validate",
            query=ValidateQuery,
        ),
        _late("GET", one, nodes.show, "node:get", query=FieldsQuery),
        _late(
            "PATCH", one, nodes.patch, "node:update", body=list[PatchOperation], query=PatchQuery
        ),
        _late("DELETE", one, nodes.delete, "node:delete", **gone),
        _late("GET", f"{one}/validate", nodes.validate, "node:validate"),
        _late(
            "PUT",
            f"{one}/maintenance",
            nodes.set_maintenance,
            "node:set_maintenance",
            stream=True,
            **kept,
        ),
        _late(
            "DELETE",
            f"{one}/maintenance",
            nodes.clear_maintenance,
            "node:clear_maintenance",
            **kept,
        ),
        # Before there were traits these paths were odd spellings of others.
        _late(
            "GET",
            f"{one}/traits",
            nodes.traits,
            "node:traits:list",
            since=37,
            hidden=Kind.VERSION,
        ),
        _late(
            "PUT",
            f"{one}/traits",
            nodes.set_traits,
            "node:traits:set",
            since=37,
            hidden=Kind.METHOD,
            body=schemas.TraitsBody,
            **gone,
        ),
        _late(
            "DELETE", f"{one}/traits", nodes.remove_traits, "node:traits:delete", since=37, **gone
        ),
        _late(
            "PUT",
            f"{one}/traits/{{trait}}",
            nodes.add_trait,
            "node:traits:set",
            since=37,
            hidden=Kind.METHOD,
            stream=True,
            **gone,
        ),
        _late(
            "DELETE",
            f"{one}/traits/{{trait}}",
            nodes.remove_traits,
            "node:traits:delete",
            since=37,
            **gone,
        ),
        _late("GET", f"{one}/children", nodes.children, "node:get", since=83),
    )


def _states(states: States) -> tuple[Operation, ...]:
    one = "/v1/nodes/{id}"
    return (
        _late("GET", f"{one}/states", states.show, "node:get_states"),
        _late("PUT", f"{one}/states/{{state}}", states.no_such_state, "node:get_states"),
        _late(
            "PUT",
            f"{one}/states/power",
            states.power,
            "node:set_power_state",
            body=schemas.PowerBody,
            status=202,
        ),
        _late(
            "PUT",
            f"{one}/states/provision",
            states.provision,
            "node:set_provision_state",
            body=schemas.ProvisionBody,
            max_body=PROVISION_BODY,
            status=202,
        ),
        _late("GET", f"{one}/vifs", states.vifs, "node:vif:list", since=28),
        _late(
            "POST",
            f"{one}/vifs",
            states.attach_vif,
            "node:vif:attach",
            since=28,
            body=schemas.VifBody,
            status=204,
        ),
        _late("DELETE", f"{one}/vifs", states.detach_nothing, "node:vif:detach", since=28),
        _late(
            "DELETE",
            f"{one}/vifs/{{vif}}",
            states.detach_vif,
            "node:vif:detach",
            since=28,
            status=204,
        ),
        _late(
            "GET",
            f"{one}/history",
            states.history,
            "node:history:get",
            since=78,
            query=HistoryQuery,
        ),
        _late(
            "GET", f"{one}/history/{{event}}", states.history_entry, "node:history:get", since=78
        ),
        _late("GET", f"{one}/inventory", states.inventory, "node:inventory:get", since=81),
    )


def _allocations(all: Allocations) -> tuple[Operation, ...]:
    path, one, below = "/v1/allocations", "/v1/allocations/{id}", "/v1/nodes/{id}/allocation"
    known: dict[str, Any] = {"since": 52}
    written: dict[str, Any] = {"since": 52, "hidden": Kind.METHOD}
    changed: dict[str, Any] = {"since": 57, "hidden": Kind.METHOD}
    rule = "allocation"
    return (
        _late("GET", path, all.list, f"{rule}:list", query=AllocationQuery, **known),
        _late(
            "POST", path, all.create, f"{rule}:create", body=AllocationCreate, status=201, **written
        ),
        _late("GET", one, all.show, f"{rule}:get", query=FieldsQuery, **known),
        _late("PATCH", one, all.patch, f"{rule}:update", body=list[PatchOperation], **changed),
        _late("DELETE", one, all.delete, f"{rule}:delete", status=204, **written),
        _late("GET", below, all.show_of_node, f"{rule}:get", query=FieldsQuery, **known),
        _late("DELETE", below, all.delete_of_node, f"{rule}:delete", status=204, **known),
    )


def _deploy_templates(all: DeployTemplates) -> tuple[Operation, ...]:
    path, one, rule = "/v1/deploy_templates", "/v1/deploy_templates/{id}", "deploy_template"
    known: dict[str, Any] = {"since": 55}
    written: dict[str, Any] = {"since": 55, "hidden": Kind.METHOD}
    body: dict[str, Any] = {"body": TemplateCreate, "status": 201}
    return (
        _late("GET", path, all.list, f"{rule}:get", query=RecordQuery, **known),
        _late("POST", path, all.create, f"{rule}:create", **body, **written),
        _late("GET", one, all.show, f"{rule}:get", query=FieldsQuery, **known),
        _late("PATCH", one, all.patch, f"{rule}:update", body=list[PatchOperation], **written),
        _late("DELETE", one, all.delete, f"{rule}:delete", status=204, **written),
    )


def _runbooks(all: Runbooks) -> tuple[Operation, ...]:
    path, one, rule = "/v1/runbooks", "/v1/runbooks/{id}", "runbook"
    traits, trait = f"{one}/traits", f"{one}/traits/{{trait}}"
    known: dict[str, Any] = {"since": 92}
    written: dict[str, Any] = {"since": 92, "hidden": Kind.METHOD}
    body: dict[str, Any] = {"body": RunbookCreate, "status": 201}
    marked: dict[str, Any] = {"status": 204, "since": 112}
    return (
        _late("GET", path, all.list, f"{rule}:list", query=RunbookQuery, **known),
        _late("POST", path, all.create, f"{rule}:create", **body, **written),
        _late("GET", one, all.show, f"{rule}:get", query=FieldsQuery, **known),
        _late("PATCH", one, all.patch, f"{rule}:update", body=list[PatchOperation], **written),
        _late("DELETE", one, all.delete, f"{rule}:delete", status=204, **written),
        _late("GET", traits, all.traits, f"{rule}:get", since=112),
        _late("PUT", traits, all.set_traits, f"{rule}:update", body=schemas.TraitsBody, **marked),
        _late("DELETE", traits, all.remove_traits, f"{rule}:update", **marked),
        _late("PUT", trait, all.add_trait, f"{rule}:update", stream=True, **marked),
        _late("DELETE", trait, all.remove_traits, f"{rule}:update", **marked),
    )


def _drivers(all: Drivers) -> tuple[Operation, ...]:
    one = "/v1/drivers/{name}"
    return (
        _global("GET", "/v1/drivers", all, all.list, "driver:get", query=DriverQuery),
        _global("GET", one, all, all.show, "driver:get", query=FieldsQuery),
        _global("GET", f"{one}/properties", all, all.properties, "driver:get_properties"),
    )


def _conductors(all: Conductors) -> tuple[Operation, ...]:
    path, rule = "/v1/conductors", "conductor:get"
    return (
        _global("GET", path, all, all.list, rule, query=ConductorQuery, since=49),
        _global("GET", f"{path}/{{host}}", all, all.show, rule, query=FieldsQuery, since=49),
    )


def _inspection_rules(all: InspectionRules) -> tuple[Operation, ...]:
    path, one, rule = (
        "/v1/inspection_rules",
        "/v1/inspection_rules/{id}",
        "inspection_rule:{}".format,
    )
    read: dict[str, Any] = {"since": 96}
    kept: dict[str, Any] = {"since": 96, "hidden": Kind.METHOD}
    delete = rule("delete")
    return (
        _global("GET", path, all, all.list, rule("get"), query=RuleListQuery, **read),
        _global("POST", path, all, all.create, rule("create"), body=RuleBody, status=201, **kept),
        _global("DELETE", path, all, all.delete_all, delete, status=204, **kept),
        _global("GET", one, all, all.show, rule("get"), query=FieldsQuery, **read),
        _global("PATCH", one, all, all.patch, rule("update"), body=list[PatchOperation], **kept),
        _global("DELETE", one, all, all.delete, delete, status=204, **kept),
    )


def _collections(rows: Sequence[Operation]) -> dict[str, int]:
    """What GET /v1 links to: the first words of the paths, with the microversion that brought them."""
    found: dict[str, int] = {}
    for row in rows:
        name = row.path.removeprefix("/v1/").partition("/")[0]
        if row.path.startswith("/v1/"):
            found[name] = min(row.since, found.get(name, row.since))
    return {name: _LINKED_SINCE.get(name, since) for name, since in found.items()}


#: Works at all versions, for agents that know no better, but is told of only from here on.
_LINKED_SINCE = {"continue_inspection": 84}


def make_service(
    baremetal: Baremetal, authenticator: Authenticator, more: Sequence[Operation] = ()
) -> Service:
    """The service under /baremetal, with its default policy and the operator's own rules over it.

    more: rows that others answer.
    """
    rows = (*operations(baremetal), *more)
    return Service(
        name="baremetal",
        prefix="/baremetal",
        operations=(*_discovery(Roots(baremetal, _collections(rows))), *rows),
        envelope=envelope,
        policy=baremetal.policy,
        authenticator=authenticator,
        versions=VERSIONS,
        implied="/v1",
        request_id_headers=("openstack-request-id", "x-openstack-request-id"),
    )
