"""The Compute API v2.1 (microversions 2.1 to 2.96) as a table of operations.

Resources that are not in the table are not there (404): volumes and images by proxy, floating IPs,
aggregates, migrations, hypervisors, usage, diagnostics, external events, agents, cells,
certificates, the details of a console's token. Actions that metal cannot do answer 501 (see `actions`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ingot.kit.api.operations import Authenticator, Operation, Service
from ingot.kit.faults import Kind
from ingot.services.compute.api import limits, server_groups, services, versions, zones
from ingot.services.compute.api.actions import Actions
from ingot.services.compute.api.common import VERSIONS, Body, envelope
from ingot.services.compute.api.consoles import RemoteConsoles
from ingot.services.compute.api.flavors import Flavors
from ingot.services.compute.api.instance_actions import InstanceActions
from ingot.services.compute.api.interfaces import Interfaces
from ingot.services.compute.api.keypairs import Keypairs
from ingot.services.compute.api.metadata import Metadata
from ingot.services.compute.api.servers import Servers
from ingot.services.compute.api.tags import Tags

if TYPE_CHECKING:
    from ingot.services.compute.service import Compute

#: User data and metadata are small; nothing here needs more.
_MOST_BODY = 1 << 20
_V = "/v2.1"


def make_service(compute: Compute, authenticator: Authenticator) -> Service:
    return Service(
        name="compute",
        prefix="/compute",
        operations=operations(compute),
        envelope=envelope,
        policy=compute.policy,
        authenticator=authenticator,
        versions=VERSIONS,
        request_id_headers=("x-openstack-request-id", "x-compute-request-id"),
    )


def operations(compute: Compute) -> Sequence[Operation]:
    """All rows."""
    return (
        Operation("GET", "", versions.versions, None, title="Versions"),
        Operation("GET", _V, versions.version, None, title="Version 2.1"),
        *_servers(Servers(compute), Actions(compute), RemoteConsoles(compute)),
        *_parts(Metadata(compute), Tags(compute), Interfaces(compute), InstanceActions(compute)),
        *_flavors(Flavors(compute)),
        *_keypairs(Keypairs(compute)),
        *_limits(limits.Limits(compute)),
        *_rest(zones.Zones(compute), server_groups.Groups(compute), services.Services(compute)),
    )


def _row(method: str, path: str, handler: Any, rule: str, **more: Any) -> Operation:
    """A row that its handler decides on, by what the request is about."""
    if method in ("POST", "PUT"):
        more.setdefault("body", Body)
    more.setdefault("late", True)
    return Operation(
        method, _V + path, handler, f"os_compute_api:{rule}", max_body=_MOST_BODY, **more
    )


def _servers(servers: Servers, actions: Actions, consoles: RemoteConsoles) -> tuple[Operation, ...]:
    one = "/servers/{id}"
    return (
        _row("GET", "/servers", servers.index, "servers:index"),
        _row("POST", "/servers", servers.create, "servers:create", status=202),
        _row("GET", "/servers/detail", servers.detail, "servers:detail"),
        _row("GET", one, servers.show, "servers:show"),
        _row("PUT", one, servers.update, "servers:update"),
        _row("DELETE", one, servers.delete, "servers:delete", status=204),
        _row("POST", one + "/action", actions.act, "servers:show", status=202),
        _row(
            "POST",
            one + "/remote-consoles",
            consoles.create,
            "os-remote-consoles",
            since=6,
            status=200,
        ),
    )


def _parts(
    metadata: Metadata, tags: Tags, interfaces: Interfaces, actions: InstanceActions
) -> tuple[Operation, ...]:
    one = "/servers/{id}"
    meta, tag = one + "/metadata", one + "/tags"
    nic, path = one + "/os-interface", one + "/os-instance-actions"
    return (
        _row("GET", meta, metadata.index, "server-metadata:index"),
        _row("POST", meta, metadata.merge, "server-metadata:create"),
        _row("PUT", meta, metadata.replace, "server-metadata:update_all"),
        _row("GET", meta + "/{key}", metadata.show, "server-metadata:show"),
        _row("PUT", meta + "/{key}", metadata.set, "server-metadata:update"),
        _row("DELETE", meta + "/{key}", metadata.delete, "server-metadata:delete", status=204),
        _row("GET", tag, tags.index, "os-server-tags:index", since=26),
        _row("PUT", tag, tags.replace, "os-server-tags:update_all", since=26),
        _row("DELETE", tag, tags.delete_all, "os-server-tags:delete_all", since=26, status=204),
        _row("GET", tag + "/{tag}", tags.show, "os-server-tags:show", since=26),
        # The tag is in the path; clients send no body with it.
        _row("PUT", tag + "/{tag}", tags.add, "os-server-tags:update", since=26, body=None),
        _row("DELETE", tag + "/{tag}", tags.delete, "os-server-tags:delete", since=26, status=204),
        _row("GET", one + "/ips", interfaces.ips, "ips:index"),
        _row("GET", one + "/ips/{label}", interfaces.ips_of, "ips:show"),
        _row("GET", nic, interfaces.interfaces, "os-attach-interfaces:list"),
        _row("POST", nic, interfaces.attach, "os-attach-interfaces:create"),
        _row("GET", nic + "/{port}", interfaces.interface, "os-attach-interfaces:show"),
        _row("DELETE", nic + "/{port}", interfaces.detach, "os-attach-interfaces:delete"),
        _row("GET", one + "/os-security-groups", interfaces.groups, "os-security-groups:list"),
        _row(
            "GET",
            one + "/os-volume_attachments",
            interfaces.volumes,
            "os-volumes-attachments:index",
        ),
        _row("GET", path, actions.index, "os-instance-actions:list"),
        _row("GET", path + "/{request}", actions.show, "os-instance-actions:show"),
    )


def _flavors(flavors: Flavors) -> tuple[Operation, ...]:
    one = "/flavors/{id}"
    specs, now = one + "/os-extra_specs", {"late": False}
    return (
        _row("GET", "/flavors", flavors.index, "flavors", **now),
        _row("POST", "/flavors", flavors.create, "os-flavor-manage:create", **now),
        _row("GET", "/flavors/detail", flavors.detail, "flavors", **now),
        _row("GET", one, flavors.show, "flavors", **now),
        _row("PUT", one, flavors.update, "os-flavor-manage:update", since=55, **now),
        _row("DELETE", one, flavors.delete, "os-flavor-manage:delete", status=202, **now),
        _row("POST", one + "/action", flavors.act, "os-flavor-access:add_tenant_access", **now),
        _row("GET", one + "/os-flavor-access", flavors.access, "os-flavor-access", **now),
        _row("GET", specs, flavors.specs, "os-flavor-extra-specs:index"),
        _row("POST", specs, flavors.set_specs, "os-flavor-extra-specs:create", **now),
        _row("GET", specs + "/{key}", flavors.spec, "os-flavor-extra-specs:show"),
        _row("PUT", specs + "/{key}", flavors.set_spec, "os-flavor-extra-specs:update", **now),
        _row(
            "DELETE", specs + "/{key}", flavors.delete_spec, "os-flavor-extra-specs:delete", **now
        ),
    )


def _keypairs(keys: Keypairs) -> tuple[Operation, ...]:
    one = "/os-keypairs/{id}"
    return (
        _row("GET", "/os-keypairs", keys.index, "os-keypairs:index"),
        _row("POST", "/os-keypairs", keys.create, "os-keypairs:create"),
        _row("GET", one, keys.show, "os-keypairs:show"),
        _row("DELETE", one, keys.delete, "os-keypairs:delete"),
    )


def _limits(limits: limits.Limits) -> tuple[Operation, ...]:
    one = "/os-quota-sets/{id}"
    return (
        _row("GET", "/limits", limits.limits, "limits", late=False),
        _row("GET", one, limits.show, "os-quota-sets:show"),
        _row("PUT", one, limits.update, "os-quota-sets:update", late=False),
        _row("DELETE", one, limits.reset, "os-quota-sets:delete", late=False, status=202),
        _row("GET", one + "/detail", limits.detail, "os-quota-sets:detail", hidden=Kind.MISSING),
        _row("GET", one + "/defaults", limits.defaults, "os-quota-sets:defaults"),
    )


def _rest(
    zones: zones.Zones, groups: server_groups.Groups, services: services.Services
) -> tuple[Operation, ...]:
    zone, group = "/os-availability-zone", "/os-server-groups"
    return (
        _row("GET", zone, zones.index, "os-availability-zone:list", late=False),
        _row("GET", zone + "/detail", zones.detail, "os-availability-zone:detail", late=False),
        _row("GET", "/os-services", services.index, "os-services:list"),
        _row("GET", group, groups.index, "os-server-groups:index"),
        _row("POST", group, groups.create, "os-server-groups:create"),
        _row("GET", group + "/{id}", groups.show, "os-server-groups:show"),
        _row("DELETE", group + "/{id}", groups.delete, "os-server-groups:delete", status=204),
    )
