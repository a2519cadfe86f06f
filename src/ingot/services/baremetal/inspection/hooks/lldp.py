"""Hooks that read what switches say of themselves: LLDP units, collected by the agent. Pure.

The agent gives [[type, hex text]] for each interface, in plugin data (`lldp_raw`) or in the inventory. The
names are upstream's (`switch_port_id` …). Sources: IEEE 802.1AB-2016 (units 0 to 8 and 127), IEEE 802.1Q
annex D, IEEE 802.3 clause 79. A unit that cannot be read is left out; the others count.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any, cast

from ingot.drivers.shape import as_list, as_map, child, items, text
from ingot.kit.ids import normal_mac
from ingot.services.baremetal.inspection.draft import Draft
from ingot.services.baremetal.inspection.hooks.options import HookOptions

#: Each interface has one unit; a machine with more is telling workflows.
MOST_INTERFACES = 64
_LONGEST = 511

Found = dict[str, Any]


def parse_lldp(draft: Draft, _options: HookOptions) -> None:
    """plugin_data.parsed_lldp: interface -> names and values."""
    parsed: dict[str, Found] = dict(child(draft.plugin_data, "parsed_lldp"))  # type: ignore[arg-type]
    for name, units in _units(draft):
        if found := parse(units):
            parsed[name] = found
    if parsed:
        draft.plugin_data["parsed_lldp"] = parsed


def local_link_connection(draft: Draft, _options: HookOptions) -> None:
    """Ports learn port_id, switch_id (a MAC) and switch_info; what is set already stays."""
    known = child(draft.plugin_data, "all_interfaces")
    ports = draft.ports_by_address()
    for name, units in _units(draft):
        port = ports.get(text(as_map(known.get(name)), "mac_address"))
        if port is None:
            continue
        link: dict[str, Any] = port.values["local_link_connection"]
        for key, value in link_of(units).items():
            link.setdefault(key, value)


def link_of(units: list[tuple[int, bytes]]) -> dict[str, str]:
    """local_link_connection as far as the units tell it."""
    found = parse(units)
    switch = next((data for kind, data in units if kind == 1), b"")
    told = {
        "port_id": found.get("switch_port_id"),
        "switch_id": found.get("switch_chassis_id") if switch[:1] == b"\x04" else None,
        "switch_info": found.get("switch_system_name"),
    }
    return {key: str(value) for key, value in told.items() if value}


def _units(draft: Draft) -> list[tuple[str, list[tuple[int, bytes]]]]:
    raw = child(draft.plugin_data, "lldp_raw")
    found: list[tuple[str, list[tuple[int, bytes]]]] = []
    for nic in items(draft.inventory, "interfaces")[:MOST_INTERFACES]:
        name = text(nic, "name")
        units = [_unit(one) for one in as_list(raw.get(name) or nic.get("lldp"))]
        found.append((name, [unit for unit in units if unit]))
    return found


def _unit(given: object) -> tuple[int, bytes] | None:
    pair = as_list(given)
    if len(pair) != 2 or not isinstance(pair[0], int) or not isinstance(pair[1], str):
        return None
    try:
        data = bytes.fromhex(pair[1])
    except ValueError:
        return None
    return (pair[0], data) if len(data) <= _LONGEST else None


def parse(units: list[tuple[int, bytes]]) -> Found:
    """Names and values of an interface's units; the first of a name counts, lists grow."""
    found: Found = {}
    for kind, data in units:
        _read(_BASIC, kind, data, found)
    return found


Reader = Callable[[bytes, Found], None]


def _read(readers: Mapping[int, Reader], kind: int, data: bytes, found: Found) -> None:
    reader = readers.get(kind)
    if reader is None:
        return
    try:
        reader(data, found)
    except (ValueError, IndexError, struct.error):
        return  # malformed: as if it had not been sent


def _text_as(name: str) -> Reader:
    def read(data: bytes, found: Found) -> None:
        found.setdefault(name, data.decode())

    return read


def _number_as(name: str) -> Reader:
    def read(data: bytes, found: Found) -> None:
        found.setdefault(name, struct.unpack_from(">H", data)[0])

    return read


def _mac(data: bytes) -> str:
    found = normal_mac(data[:6].hex(":")) if len(data) >= 6 else None
    if found is None:
        raise ValueError("no MAC address")
    return found


def _address(data: bytes) -> str | None:
    """An address of IANA's families: IPv4, IPv6, MAC; None for others."""
    family, rest = data[0], data[1:]
    if family == 1:
        return str(ip_address(rest[:4]))
    if family == 2:
        return str(ip_address(rest[:16]))
    return _mac(rest) if family == 6 else None


def _ident_as(name: str, mac: int, address: int, texts: frozenset[int]) -> Reader:
    """Chassis and port ids: a subtype, then a text, a MAC or an address."""

    def read(data: bytes, found: Found) -> None:
        subtype, rest = data[0], data[1:]
        value: str | None = None
        if subtype == mac:
            value = _mac(rest)
        elif subtype == address:
            value = _address(rest)
        elif subtype in texts:
            value = rest.decode()
        if value is not None:
            found.setdefault(name, value)

    return read


_CAPABILITIES = (
    (1, "Repeater"),
    (2, "Bridge"),
    (3, "WLAN"),
    (4, "Router"),
    (5, "Telephone"),
    (6, "DOCSIS cable device"),
    (7, "Station only"),
    (8, "C-Vlan"),
    (9, "S-Vlan"),
    (10, "TPMR"),
)


def _capabilities(data: bytes, found: Found) -> None:
    supported, enabled = _exactly(">HH", data)
    for name, bits in (("support", supported), ("enabled", enabled)):
        named = [text for bit, text in _CAPABILITIES if bits >> bit & 1]
        found.setdefault(f"switch_capabilities_{name}", named)


def _exactly(shape: str, data: bytes) -> tuple[int, ...]:
    """Numbers of a unit whose length is fixed."""
    return cast("tuple[int, ...]", struct.unpack(shape, data))


def _management(data: bytes, found: Found) -> None:
    if address := _address(data[1:]):
        found.setdefault("switch_mgmt_addresses", []).append(address)


def _organisation(data: bytes, found: Found) -> None:
    readers = {b"\x00\x80\xc2": _DOT1, b"\x00\x12\x0f": _DOT3}.get(data[:3])
    if readers is not None:
        _read(readers, data[3], data[4:], found)


def _protocol_vlan(data: bytes, found: Found) -> None:
    flags, vlan = _exactly(">BH", data)
    found.setdefault("switch_port_protocol_vlan_enabled", bool(flags & 4))
    found.setdefault("switch_port_protocol_vlan_support", bool(flags & 2))
    found.setdefault("switch_port_protocol_vlan_ids", []).append(vlan)


def _vlan_name(data: bytes, found: Found) -> None:
    vlan, length = struct.unpack_from(">HB", data)
    named = data[3 : 3 + length].decode().rstrip("\0")
    found.setdefault("switch_port_vlans", []).append({"name": named, "id": vlan})


def _protocol(data: bytes, found: Found) -> None:
    told = data[1 : 1 + data[0]]
    found.setdefault("switch_protocol_identities", []).append(told.hex())


def _aggregation(data: bytes, found: Found) -> None:
    status, port = _exactly(">BI", data)
    found.setdefault("switch_port_link_aggregation_enabled", bool(status & 2))
    found.setdefault("switch_port_link_aggregation_support", bool(status & 1))
    found.setdefault("switch_port_link_aggregation_id", port)


#: From the highest bit but one on (RFC 4836, IANAifMauAutoNegCapBits).
_SPEEDS = (
    "10BASE-T hdx",
    "10BASE-T fdx",
    "10BASE-T4",
    "100BASE-TX hdx",
    "100BASE-TX fdx",
    "100BASE-T2 hdx",
    "100BASE-T2 fdx",
    "PAUSE fdx",
    "Asym PAUSE fdx",
    "Sym PAUSE fdx",
    "Asym and Sym PAUSE fdx",
    "1000BASE-X hdx",
    "1000BASE-X fdx",
    "1000BASE-T hdx",
    "1000BASE-T fdx",
)
#: RFC 4836, ifMauTypeList.
_MAU = (
    *("Unknown", "AUI", "10BASE-5", "FOIRL", "10BASE-2", "10BASE-T duplex mode unknown"),
    *("10BASE-FP", "10BASE-FB", "10BASE-FL duplex mode unknown", "10BROAD36"),
    *("10BASE-T half duplex", "10BASE-T full duplex"),
    *("10BASE-FL half duplex", "10BASE-FL full duplex", "100 BASE-T4"),
    *("100BASE-TX half duplex", "100BASE-TX full duplex"),
    *("100BASE-FX half duplex", "100BASE-FX full duplex"),
    *("100BASE-T2 half duplex", "100BASE-T2 full duplex"),
    *("1000BASE-X half duplex", "1000BASE-X full duplex"),
    *("1000BASE-LX half duplex", "1000BASE-LX full duplex"),
    *("1000BASE-SX half duplex", "1000BASE-SX full duplex"),
    *("1000BASE-CX half duplex", "1000BASE-CX full duplex"),
    *("1000BASE-T half duplex", "1000BASE-T full duplex"),
    *("10GBASE-X", "10GBASE-LX4", "10GBASE-R", "10GBASE-ER", "10GBASE-LR", "10GBASE-SR"),
    *("10GBASE-W", "10GBASE-EW", "10GBASE-LW", "10GBASE-SW", "10GBASE-CX4", "2BASE-TL"),
    *("10PASS-TS", "100BASE-BX10D", "100BASE-BX10U", "100BASE-LX10", "1000BASE-BX10D"),
    *("1000BASE-BX10U", "1000BASE-LX10", "1000BASE-PX10D", "1000BASE-PX10U"),
    *("1000BASE-PX20D", "1000BASE-PX20U"),
)


def _mac_phy(data: bytes, found: Found) -> None:
    status, speeds, mau = _exactly(">BHH", data)
    named = _MAU[mau]
    found.setdefault("switch_port_autonegotiation_enabled", bool(status & 2))
    found.setdefault("switch_port_autonegotiation_support", bool(status & 1))
    shown = sorted(text for at, text in enumerate(_SPEEDS) if speeds >> (14 - at) & 1)
    found.setdefault("switch_port_physical_capabilities", shown)
    found.setdefault("switch_port_mau_type", named)


_BASIC: Mapping[int, Reader] = {
    1: _ident_as("switch_chassis_id", 4, 5, frozenset({1, 2, 3, 6, 7})),
    2: _ident_as("switch_port_id", 3, 4, frozenset({1, 2, 5, 7})),
    4: _text_as("switch_port_description"),
    5: _text_as("switch_system_name"),
    6: _text_as("switch_system_description"),
    7: _capabilities,
    8: _management,
    127: _organisation,
}
_DOT1: Mapping[int, Reader] = {
    1: _number_as("switch_port_untagged_vlan_id"),
    2: _protocol_vlan,
    3: _vlan_name,
    4: _protocol,
    6: _number_as("switch_port_management_vlan_id"),
    7: _aggregation,
}
_DOT3: Mapping[int, Reader] = {
    1: _mac_phy,
    3: _aggregation,
    4: _number_as("switch_port_mtu"),
}
