"""Servers and flavors as clients see them, at the microversion that was asked for."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from ingot.kit.api.operations import Call
from ingot.kit.api.versions import Field, FieldTable
from ingot.services.compute import states
from ingot.services.compute.api.common import Wire, links, naive, seconds, target
from ingot.services.compute.types import Flavor, Server

if TYPE_CHECKING:
    from ingot.services.compute.service import Compute

_SERVER = FieldTable(
    [
        Field("id"),
        Field("name"),
        Field("status"),
        Field("tenant_id"),
        Field("user_id"),
        Field("metadata"),
        Field("hostId"),
        Field("image"),
        Field("flavor"),
        Field("created"),
        Field("updated"),
        Field("addresses"),
        Field("accessIPv4"),
        Field("accessIPv6"),
        Field("links"),
        Field("OS-DCF:diskConfig"),
        Field("progress"),
        Field("fault"),
        Field("OS-EXT-AZ:availability_zone"),
        Field("config_drive"),
        Field("key_name"),
        Field("OS-SRV-USG:launched_at"),
        Field("OS-SRV-USG:terminated_at"),
        Field("security_groups"),
        Field("OS-EXT-SRV-ATTR:host"),
        Field("OS-EXT-SRV-ATTR:instance_name"),
        Field("OS-EXT-SRV-ATTR:hypervisor_hostname"),
        Field("OS-EXT-SRV-ATTR:hostname", 3),
        Field("OS-EXT-SRV-ATTR:kernel_id", 3),
        Field("OS-EXT-SRV-ATTR:ramdisk_id", 3),
        Field("OS-EXT-SRV-ATTR:launch_index", 3),
        Field("OS-EXT-SRV-ATTR:reservation_id", 3),
        Field("OS-EXT-SRV-ATTR:root_device_name", 3),
        Field("OS-EXT-SRV-ATTR:user_data", 3),
        Field("OS-EXT-STS:task_state"),
        Field("OS-EXT-STS:vm_state"),
        Field("OS-EXT-STS:power_state"),
        Field("os-extended-volumes:volumes_attached"),
        Field("locked", 9),
        Field("host_status", 16),
        Field("description", 19),
        Field("tags", 26),
        Field("trusted_image_certificates", 63),
        Field("server_groups", 71),
        Field("locked_reason", 73),
        Field("pinned_availability_zone", 96),
    ]
)
#: What replies to PUT and rebuild had before they became like all others (2.75).
_CHANGED = frozenset(
    [
        "id",
        "name",
        "status",
        "tenant_id",
        "user_id",
        "metadata",
        "hostId",
        "image",
        "flavor",
        "created",
        "updated",
        "addresses",
        "accessIPv4",
        "accessIPv6",
        "links",
        "OS-DCF:diskConfig",
        "progress",
        "fault",
        "locked",
        "description",
        "tags",
        "trusted_image_certificates",
        "server_groups",
        "locked_reason",
    ]
)


#: Who sees the attributes of a server that administrators see.
_ATTRIBUTES = "os_compute_api:os-extended-server-attributes"
_USER_DATA_SINCE = 3


def shows_user_data(call: Call, of: dict[str, object]) -> bool:
    """Whether this caller is shown the user data of servers such as `of`, as rules see it."""
    return call.version.minor >= _USER_DATA_SINCE and call.allows(_ATTRIBUTES, of)


def server(
    compute: Compute, call: Call, found: Server, *, listed: bool = False, changed: bool = False
) -> Wire:
    """One server in full. listed: in a list of details. changed: reply to PUT or rebuild."""
    whole = _whole(call, found)
    if call.allows(_ATTRIBUTES, target(found)):
        whole |= _for_admins(compute, found)
        if shows_user_data(call, target(found)):
            whole["OS-EXT-SRV-ATTR:user_data"] = compute.secrets_of(found).user_data
    elif call.version.minor >= 90:
        whole["OS-EXT-SRV-ATTR:hostname"] = found.hostname
    if call.allows("os_compute_api:servers:show:host_status", target(found)):
        whole["host_status"] = "UP" if found.node_uuid else ""
    if listed:
        del whole["server_groups"]
    shown = _SERVER.pick(whole, call.version)
    if changed and call.version.minor < 75:
        shown = {name: value for name, value in shown.items() if name in _CHANGED}
        shown["addresses"] = addresses(found, short=True)
    return shown


def _whole(call: Call, found: Server) -> Wire:
    status = states.status(found.vm_state, found.task_state)
    whole: Wire = {
        "id": found.uuid,
        "name": found.name,
        "status": status,
        "tenant_id": found.project_id,
        "user_id": found.user_id,
        "metadata": found.metadata,
        "hostId": _host_id(found),
        "image": _image(call, found),
        "flavor": _flavor_of(call, found),
        "created": seconds(found.created_at),
        "updated": seconds(found.updated_at),
        "addresses": addresses(found),
        "accessIPv4": found.access_ip_v4 or "",
        "accessIPv6": found.access_ip_v6 or "",
        "links": links(call, f"servers/{found.uuid}"),
        "OS-DCF:diskConfig": found.disk_config,
        "OS-EXT-AZ:availability_zone": found.availability_zone or found.pinned_zone or "",
        "config_drive": found.config_drive,
        "key_name": found.key_name,
        "OS-SRV-USG:launched_at": naive(found.launched_at),
        "OS-SRV-USG:terminated_at": naive(found.terminated_at),
        "OS-EXT-STS:task_state": found.task_state,
        "OS-EXT-STS:vm_state": found.vm_state,
        "OS-EXT-STS:power_state": found.power_state,
        "os-extended-volumes:volumes_attached": [],
        "locked": found.locked,
        "locked_reason": found.locked_reason,
        "description": found.description,
        "tags": list(found.tags),
        "trusted_image_certificates": None,
        "server_groups": [found.group_id] if found.group_id else [],
        "pinned_availability_zone": found.pinned_zone,
    }
    # Without a port there is nothing that a security group could be on.
    if found.security_groups:
        whole["security_groups"] = [{"name": name} for name in found.security_groups]
    if status in states.PROGRESS:
        whole["progress"] = 100 if status in ("ACTIVE", "DELETED") else 0
    if status in ("ERROR", "DELETED") and found.fault is not None:
        whole["fault"] = {
            "code": found.fault.code,
            "created": seconds(found.fault.created),
            "message": found.fault.message,
        }
    return whole


def _for_admins(compute: Compute, found: Server) -> Wire:
    prefix = "OS-EXT-SRV-ATTR:"
    return {
        prefix + "host": compute.settings.host if found.node_uuid else None,
        prefix + "instance_name": f"instance-{found.number:08x}",
        prefix + "hypervisor_hostname": found.node_uuid,
        prefix + "hostname": found.hostname,
        prefix + "kernel_id": "",
        prefix + "ramdisk_id": "",
        prefix + "launch_index": found.launch_index,
        prefix + "reservation_id": found.reservation_id,
        prefix + "root_device_name": "/dev/sda" if found.node_uuid else None,
    }


def _host_id(found: Server) -> str:
    if not found.node_uuid:
        return ""
    return hashlib.sha224(f"{found.project_id}{found.node_uuid}".encode()).hexdigest()


def _image(call: Call, found: Server) -> Any:
    if not found.image_id:
        return ""
    path = f"images/{found.image_id}"
    return {
        "id": found.image_id,
        "links": [{"rel": "bookmark", "href": f"{call.base_url}/{path}"}],
    }


def _flavor_of(call: Call, found: Server) -> Wire:
    flavor = found.flavor
    if call.version.minor < 47:
        path = f"flavors/{flavor.id}"
        return {
            "id": flavor.id,
            "links": [{"rel": "bookmark", "href": f"{call.base_url}/{path}"}],
        }
    shown: Wire = {
        "vcpus": flavor.vcpus,
        "ram": flavor.ram,
        "disk": flavor.disk,
        "ephemeral": flavor.ephemeral,
        "swap": flavor.swap,
        "original_name": flavor.name,
    }
    if call.allows("os_compute_api:servers:show:flavor-extra-specs", target(found)):
        shown["extra_specs"] = flavor.extra_specs
    return shown


def addresses(found: Server, *, short: bool = False) -> dict[str, list[Wire]]:
    """Addresses by network. short: without the extended attributes."""
    shown: dict[str, list[Wire]] = {}
    for address in found.addresses:
        entry: Wire = {"version": address.version, "addr": address.addr}
        if not short:
            entry |= {"OS-EXT-IPS:type": "fixed", "OS-EXT-IPS-MAC:mac_addr": address.mac}
        shown.setdefault(address.label, []).append(entry)
    return shown


# -- flavors -------------------------------------------------------------------------------------

_FLAVOR = FieldTable(
    [
        Field("id"),
        Field("name"),
        Field("ram"),
        Field("disk"),
        Field("swap"),
        Field("OS-FLV-EXT-DATA:ephemeral"),
        Field("OS-FLV-DISABLED:disabled"),
        Field("vcpus"),
        Field("os-flavor-access:is_public"),
        Field("rxtx_factor"),
        Field("links"),
        Field("description", 55),
        Field("extra_specs", 61),
    ]
)
_BRIEF = frozenset({"id", "name", "links", "description"})


def flavor(call: Call, found: Flavor, *, brief: bool = False) -> Wire:
    """A flavor; brief as in plain lists."""
    empty_swap: int | str = 0 if call.version.minor >= 75 else ""
    whole: Wire = {
        "id": found.id,
        "name": found.name,
        "ram": found.ram,
        "disk": found.disk,
        "swap": found.swap or empty_swap,
        "OS-FLV-EXT-DATA:ephemeral": found.ephemeral,
        "OS-FLV-DISABLED:disabled": False,
        "vcpus": found.vcpus,
        "os-flavor-access:is_public": found.is_public,
        "rxtx_factor": found.rxtx_factor,
        "links": links(call, f"flavors/{found.id}"),
        "description": found.description,
    }
    if call.allows(
        "os_compute_api:os-flavor-extra-specs:index", {"project_id": call.caller.project_id}
    ):
        whole["extra_specs"] = found.extra_specs
    shown = _FLAVOR.pick(whole, call.version)
    return {name: value for name, value in shown.items() if not brief or name in _BRIEF}
