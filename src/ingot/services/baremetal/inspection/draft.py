"""A node and its ports on the desk of an inspection: hooks and rules change the draft, one commit writes it.

Pure: nothing here knows a database. The fields of the draft are those that a patch may name
(`schemas.PATCHABLE`), in the newest microversion's form and with secrets masked.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ingot.kit.faults import Invalid
from ingot.services.baremetal.nodes import guards, schemas
from ingot.services.baremetal.ports import schemas as port_schemas
from ingot.services.baremetal.types import Node

#: Fields of a port that hooks and rules may change, with what they are when they are taken away.
PORT_FIELDS: Mapping[str, Any] = {
    "address": None,
    "pxe_enabled": True,
    "extra": {},
    "local_link_connection": {},
    "physical_network": None,
    "is_smartnic": False,
    "name": None,
    "description": None,
    "vendor": None,
    "category": None,
}


@dataclass
class PortDraft:
    """A port; uuid None: it is new."""

    uuid: str | None
    values: dict[str, Any]

    @property
    def address(self) -> str:
        return str(self.values["address"])

    def set(self, name: str, value: Any) -> None:
        """Invalid says why a port cannot have this value."""
        if name not in PORT_FIELDS:
            raise Invalid(f"{name!r} is no attribute of a port that can be set here.")
        if value is None:
            self.values[name] = copy.deepcopy(PORT_FIELDS[name])
            return
        self.values.update(port_schemas.values(port_schemas.PortChange, "port", {name: value}))


@dataclass
class Draft:
    """What an inspection works on, and what it makes of it.

    before: serial numbers of the disks that the inspection before this one found. boot_mode: found, not
    asked for. said: what happened, in sentences for the timeline.
    """

    node: Node
    fields: dict[str, Any]
    ports: list[PortDraft]
    inventory: dict[str, Any]
    plugin_data: dict[str, Any]
    before: tuple[str, ...] = ()
    boot_mode: str | None = None
    traits: set[str] = field(default_factory=set[str])
    said: list[str] = field(default_factory=list[str])

    @property
    def properties(self) -> dict[str, Any]:
        return self.fields["properties"]

    def say(self, text: str) -> None:
        self.said.append(text)

    def port(self, ident: str) -> PortDraft | None:
        """By uuid, MAC address or name."""
        wanted = ident.lower()
        for port in self.ports:
            if wanted in (port.uuid, port.address) or ident == port.values.get("name"):
                return port
        return None

    def ports_by_address(self) -> dict[str, PortDraft]:
        """For those who look for many."""
        return {port.address: port for port in self.ports}

    def set(self, name: str, value: Any) -> None:
        """Set a whole field; Invalid says why a node cannot have this value."""
        if name not in schemas.PATCHABLE:
            raise Invalid(f"{name!r} is no attribute of a node that can be set here.")
        if value is None and name in schemas.OBJECTS:
            value = {}
        if value is None and name == "driver":
            raise Invalid("A node cannot be without a driver.")
        self.fields.update(schemas.node_values(schemas.NodeEdit, {name: value}))

    def add_trait(self, name: str) -> None:
        guards.traits({*self.traits, name})
        self.traits.add(name)

    def set_capabilities(self, pairs: Mapping[str, str]) -> None:
        if pairs:
            self.properties["capabilities"] = merge_capabilities(
                self.properties.get("capabilities"), pairs
            )

    def unset_capability(self, name: str) -> None:
        pairs = capability_pairs(self.properties.get("capabilities"))
        if pairs.pop(name, None) is not None:
            self.properties["capabilities"] = _joined(pairs)


def draft_ports(rows: Iterable[Mapping[str, Any]]) -> list[PortDraft]:
    """Ports from rows with JSON columns read."""
    return [
        PortDraft(row["uuid"], {name: copy.deepcopy(row[name]) for name in PORT_FIELDS})
        for row in rows
    ]


def capability_pairs(text: object) -> dict[str, str]:
    """`k:v,k:v` as properties.capabilities holds them."""
    pairs: dict[str, str] = {}
    for part in str(text or "").split(","):
        name, colon, value = part.partition(":")
        if colon and name.strip():
            pairs[name.strip()] = value.strip()
    return pairs


def merge_capabilities(old: object, new: Mapping[str, str]) -> str:
    """Capabilities with others added or replaced."""
    return _joined({**capability_pairs(old), **new})


def _joined(pairs: Mapping[str, str]) -> str:
    return ",".join(f"{name}:{value}" for name, value in pairs.items())
