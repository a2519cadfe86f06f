"""Fields of nodes, their states and their history, with the microversion that brought each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ingot.kit.api.versions import Field, FieldTable, Version
from ingot.kit.faults import Fault, Invalid, Kind
from ingot.services.baremetal.nodes import states
from ingot.services.baremetal.tables import INTERFACES

_INTERFACE_SINCE = {"network": 20, "storage": 33, "rescue": 38, "bios": 40, "firmware": 86}

#: Fields of a node with the microversion that brought them.
NODE = FieldTable(
    [
        Field("uuid"),
        Field("name", 5),
        Field("created_at"),
        Field("updated_at"),
        Field("allocation_uuid", 52),
        Field("automated_clean", 47),
        Field("boot_mode", 75),
        Field("chassis_uuid"),
        Field("clean_step", 7),
        Field("conductor", 49),
        Field("conductor_group", 46),
        Field("console_enabled"),
        Field("deploy_step", 44),
        Field("description", 51),
        Field("disable_power_off", 95),
        Field("driver"),
        Field("driver_info"),
        Field("driver_internal_info", 3),
        Field("extra"),
        Field("fault", 42),
        Field("health", 109),
        Field("inspection_finished_at", 6),
        Field("inspection_started_at", 6),
        Field("instance_info"),
        Field("instance_name", 104),
        Field("instance_uuid"),
        Field("last_error"),
        Field("lessee", 65),
        Field("maintenance"),
        Field("maintenance_reason"),
        Field("network_data", 66),
        Field("owner", 50),
        Field("parent_node", 83),
        Field("power_state"),
        Field("properties"),
        Field("protected", 48),
        Field("protected_reason", 48),
        Field("provision_state"),
        Field("provision_updated_at"),
        Field("raid_config", 12),
        Field("reservation"),
        Field("resource_class", 21),
        Field("retired", 61),
        Field("retired_reason", 61),
        Field("secure_boot", 75),
        Field("service_step", 87),
        Field("shard", 82),
        Field("target_power_state"),
        Field("target_provision_state"),
        Field("target_raid_config", 12),
        Field("traits", 37),
        *(Field(f"{name}_interface", _INTERFACE_SINCE.get(name, 31)) for name in INTERFACES),
    ]
)
NODE_BRIEF = ("uuid", "name", "instance_uuid", "maintenance", "power_state", "provision_state")
#: Lists of links in a whole node: name -> first microversion.
NODE_SUBS = {"ports": 1, "states": 14, "portgroups": 24, "volume": 32}

STATES = FieldTable(
    [
        Field("console_enabled"),
        Field("last_error"),
        Field("power_state"),
        Field("provision_state"),
        Field("target_power_state"),
        Field("target_provision_state"),
        Field("provision_updated_at"),
        Field("raid_config", 12),
        Field("target_raid_config", 12),
        Field("boot_mode", 75),
        Field("secure_boot", 75),
    ]
)

HISTORY = FieldTable(
    [
        Field("uuid"),
        Field("created_at"),
        Field("severity"),
        Field("event_type"),
        Field("event"),
        Field("conductor"),
        Field("user"),
        Field("project", 113),
        Field("state", 115),
        Field("target_provision_state", 115),
        Field("duration_seconds", 115),
    ]
)

NODE_JSON = frozenset(
    {"driver_info", "driver_internal_info", "extra", "instance_info", "properties"}
    | {"clean_step", "deploy_step", "service_step", "raid_config", "target_raid_config"}
    | {"network_data"}
)
NODE_UNSORTABLE = NODE_JSON | {"traits", "conductor"}
_AVAILABLE_SINCE = 2
INSPECT_WAIT_SINCE = 39


def fields_wanted(
    fields: Sequence[str] | None,
    detail: bool | None,
    table: FieldTable,
    brief: tuple[str, ...],
    version: Version,
) -> tuple[str, ...] | None:
    """Names to show, None for all. 400 for unknown ones, 406 for those of newer microversions."""
    if fields is not None and detail:
        raise Invalid("Can not specify ?detail=True and fields in the same request.")
    if fields is None:
        return None if detail else tuple(n for n in brief if n in table.names(version))
    fields = [name.strip().lower() for name in fields]
    acceptable(fields, table, version)
    unknown = [name for name in fields if name not in table.by_name and name != "links"]
    if unknown:
        raise Invalid(f'Field(s) "{", ".join(unknown)}" are not valid')
    return tuple(dict.fromkeys(name for name in fields if name != "links"))


def acceptable(names: Iterable[str], table: FieldTable, version: Version) -> None:
    """406 for fields that this microversion does not know yet."""
    for name in names:
        field = table.by_name.get(name)
        if field is not None and not field.visible(version.minor):
            raise Fault(f"Request not acceptable: {name} needs 1.{field.since}.", kind=Kind.VERSION)


def old_state(state: str | None, minor: int) -> str | None:
    """A provision state as older microversions know it."""
    if minor < _AVAILABLE_SINCE and state == states.AVAILABLE:
        return None
    if minor < INSPECT_WAIT_SINCE and state == states.INSPECTWAIT:
        return states.INSPECTING
    return state
