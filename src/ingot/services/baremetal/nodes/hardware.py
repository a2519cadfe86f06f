"""What a machine told of its own settings last: BIOS settings, firmware, logical disks, modes.

Kept so that the API answers without asking the controller. Read anew at the end of verification, cleaning and
inspection, and after every step that changes one of them. Functions of a connection.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from ingot.drivers.machine.types import BiosSetting, FirmwareComponent
from ingot.kit.db.database import from_json, to_json
from ingot.kit.http.untrusted import harmless, words
from ingot.services.baremetal import store
from ingot.services.baremetal.inspection.draft import merge_capabilities
from ingot.services.baremetal.nodes.hardware_store import BIOS, FIRMWARE

#: Of one machine, and of a text: what a controller tells is its own affair only up to here.
MOST_SETTINGS, MOST_COMPONENTS, MOST_CHOICES = 4096, 512, 1024
LONGEST_NAME, LONGEST_VALUE = 255, 1024
_BIGGEST = 2**63


def save_bios(
    conn: sa.Connection, uuid: str, settings: Iterable[BiosSetting], now: str
) -> tuple[str, ...]:
    """Replace the node's BIOS settings, at most 4096; names of those whose value changed.

    Names that no API could show are left out; of texts and bounds what a column cannot hold.
    """
    told: dict[str, dict[str, Any]] = {}
    for setting in itertools.islice(settings, MOST_SETTINGS):
        if setting.name.isprintable() and 0 < len(setting.name) <= LONGEST_NAME:
            told[setting.name] = _setting_row(setting)
    known = {row["name"]: row for row in BIOS.rows(conn, uuid)}
    BIOS.replace(conn, uuid, known, told, now)
    return tuple(
        name for name, row in told.items() if name in known and known[name]["value"] != row["value"]
    )


def save_firmware(
    conn: sa.Connection, uuid: str, components: Iterable[FirmwareComponent], now: str
) -> None:
    """Replace the node's firmware components, remembering where each began."""
    known = {row["component"]: row for row in FIRMWARE.rows(conn, uuid)}
    told: dict[str, dict[str, Any]] = {}
    for raw in itertools.islice(components, MOST_COMPONENTS):
        row: dict[str, Any] = {name: _word(value) for name, value in asdict(raw).items()}
        one = FirmwareComponent(**row)
        old = known.get(one.component)
        row["initial_version"] = old["initial_version"] if old else one.current_version
        flashed = old["last_version_flashed"] if old else None
        changed = old is not None and old["current_version"] != one.current_version
        row["last_version_flashed"] = one.current_version if changed else flashed
        told[one.component] = row
    FIRMWARE.replace(conn, uuid, known, told, now)


def save_raid(conn: sa.Connection, uuid: str, config: Mapping[str, Any], now: str) -> None:
    """Write the logical disks that the machine has now, and what follows for deploys.

    The root volume becomes the root device; its size and level become properties to be chosen by.
    """
    values: dict[str, Any] = {"raid_config": {}}
    disks: Sequence[Mapping[str, Any]] = config.get("logical_disks") or []
    if disks:
        values["raid_config"] = {**config, "last_updated": now}
    root = next((disk for disk in disks if disk.get("is_root_volume")), None)
    if root is not None:
        properties = dict(store.get_node(conn, uuid).properties)
        if root.get("size_gb") != "MAX":
            properties["local_gb"] = int(root["size_gb"])
        if root.get("root_device_hint"):
            properties["root_device"] = root["root_device_hint"]
        properties["capabilities"] = merge_capabilities(
            properties.get("capabilities"), {"raid_level": str(root["raid_level"])}
        )
        values["properties"] = properties
    store.update_node(conn, uuid, **values)


def bios(conn: sa.Connection, uuid: str, name: str | None = None) -> list[dict[str, Any]]:
    """BIOS settings by name, all or one."""
    rows = [row for row in BIOS.rows(conn, uuid) if name is None or row["name"] == name]
    for row in rows:
        row["allowable_values"] = from_json(row["allowable_values"])
    return rows


def firmware(conn: sa.Connection, uuid: str) -> list[dict[str, Any]]:
    """Firmware components by name."""
    return FIRMWARE.rows(conn, uuid)


def set_target_raid(conn: sa.Connection, uuid: str, config: Mapping[str, Any], now: str) -> None:
    store.update_node(conn, uuid, target_raid_config=dict(config), updated_at=now)


# -- inside --------------------------------------------------------------------------------------


def _setting_row(setting: BiosSetting) -> dict[str, Any]:
    row = asdict(setting)
    values: Sequence[str] | None = row["allowable_values"]
    if values is not None:
        values = [harmless(value, LONGEST_VALUE) for value in values[:MOST_CHOICES]]
    row["allowable_values"] = None if values is None else to_json(values)
    row["value"] = None if setting.value is None else harmless(setting.value, LONGEST_VALUE)
    row["attribute_type"] = _word(setting.attribute_type)
    for name in ("lower_bound", "upper_bound", "min_length", "max_length"):
        if row[name] is not None and not -_BIGGEST <= row[name] < _BIGGEST:
            row[name] = None
    return row


def _word(text: str | None) -> str | None:
    return None if text is None else words(text, LONGEST_NAME)
