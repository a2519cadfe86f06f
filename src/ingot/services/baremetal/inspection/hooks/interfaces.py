"""Hooks about network cards: which there are, which become ports, and on which network they are."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from ingot.drivers.shape import as_map, child, items, text
from ingot.kit.faults import Failed
from ingot.kit.ids import normal_mac
from ingot.services.baremetal.inspection.draft import PORT_FIELDS, Draft, PortDraft
from ingot.services.baremetal.inspection.hooks.options import HookOptions

_CHECK = "Check the machine's network cards, then inspect again."


def validate(draft: Draft, options: HookOptions) -> None:
    """plugin_data gets all_interfaces, valid_interfaces (those that may become ports) and macs."""
    found = _all(draft)
    if not found:
        raise Failed(
            "The inspection found no network interface with a MAC address.", next_action=_CHECK
        )
    booted = boot_mac(draft)
    good = {name: one for name, one in found.items() if _wanted(one, options, booted)}
    if not good and options.add_ports != "disabled":
        raise Failed(
            f"No network interface matches the settings (add_ports is {options.add_ports!r}).",
            next_action=_CHECK,
        )
    draft.plugin_data["all_interfaces"] = found
    draft.plugin_data["valid_interfaces"] = good
    draft.plugin_data["macs"] = [one["mac_address"] for one in good.values()]


def _all(draft: Draft) -> dict[str, Any]:
    """Interfaces with a MAC by name; pxe_enabled: it booted, or might have, where nothing is told.

    Where that is not told, one without link is not likely to boot, unless none has link.
    """
    booted = boot_mac(draft)
    found: dict[str, Any] = {}
    for nic in items(draft.inventory, "interfaces"):
        mac = normal_mac(text(nic, "mac_address"))
        name = text(nic, "name") or (mac or "")
        if not mac or name == "lo":
            continue
        boots = mac == booted if booted else nic.get("has_carrier") is not False
        address = text(nic, "ipv6_address").partition("%")[0]
        found[name] = {
            **nic,
            "mac_address": mac,
            "ipv6_address": address or None,
            "pxe_enabled": boots,
        }
    if found and not booted and not any(nic["pxe_enabled"] for nic in found.values()):
        for nic in found.values():
            nic["pxe_enabled"] = True
    return found


def _wanted(nic: dict[str, Any], options: HookOptions, booted: str | None) -> bool:
    address = nic.get("ipv4_address") or nic.get("ipv6_address")
    if nic["mac_address"] != booted and (_is_loopback(address) or nic.get("enabled") is False):
        return False
    if options.add_ports == "pxe" and booted:
        return nic["mac_address"] == booted
    return options.add_ports != "active" or bool(address)


def _is_loopback(address: object) -> bool:
    try:
        return ip_address(str(address)).is_loopback
    except ValueError:
        return False


def boot_mac(draft: Draft) -> str | None:
    """The card that booted. PXE's form carries the hardware type in front: 01-52-54-…"""
    told = text(draft.plugin_data, "boot_interface")
    plain = (told or text(child(draft.inventory, "boot"), "pxe_interface")).replace("-", ":")
    return normal_mac(plain[3:] if plain.count(":") == 6 else plain)


def ports(draft: Draft, options: HookOptions) -> None:
    """New cards become ports; others are marked, and go when the settings say so."""
    cards = child(draft.plugin_data, "all_interfaces")
    by_mac = {text(as_map(card), "mac_address"): as_map(card) for card in cards.values()}
    if options.add_ports != "disabled":
        known = draft.ports_by_address()
        for card in child(draft.plugin_data, "valid_interfaces").values():
            if text(as_map(card), "mac_address") not in known:
                port = _port_of(as_map(card))
                known[port.address] = port
                draft.ports.append(port)
    _keep(draft, options, set(by_mac))
    booted = boot_mac(draft)
    for port in draft.ports:
        card = by_mac.get(port.address)
        if options.update_pxe_enabled and booted:
            # Without a word of the card that booted, what is set stays.
            port.values["pxe_enabled"] = port.address == booted
        client = card.get("client_id") if card else None
        if client:
            port.values["extra"] = {**port.values["extra"], "client-id": client}


def _port_of(card: dict[str, Any]) -> PortDraft:
    mac = text(card, "mac_address")
    values = {
        **PORT_FIELDS,
        "address": mac,
        "pxe_enabled": bool(card.get("pxe_enabled")),
        "extra": {"interface": text(card, "name") or mac},
        "local_link_connection": {},
    }
    return PortDraft(None, values)


def _keep(draft: Draft, options: HookOptions, present: set[str]) -> None:
    if options.keep_ports == "all":
        return
    macs: list[str] = draft.plugin_data["macs"]
    expected = present if options.keep_ports == "present" else set(macs)
    if expected:
        draft.ports = [port for port in draft.ports if port.address in expected]


def physical_network(draft: Draft, options: HookOptions) -> None:
    """The first network of the settings in which an address of the card lies."""
    networks = [(ip_network(cidr), name) for cidr, name in options.physical_networks.items()]
    known = draft.ports_by_address()
    for card in child(draft.plugin_data, "all_interfaces").values():
        nic = as_map(card)
        port = known.get(text(nic, "mac_address"))
        if port is None:
            continue
        for key in ("ipv4_address", "ipv6_address"):
            name = _network_of(text(nic, key), networks)
            if name is not None:
                port.values["physical_network"] = name
                break


def _network_of(address: str, networks: list[tuple[Any, str]]) -> str | None:
    try:
        known = ip_address(address)
    except ValueError:
        return None
    return next((name for network, name in networks if known in network), None)
