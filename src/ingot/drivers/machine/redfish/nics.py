"""Network cards as a System tells them: whose they are, their address, and whether they may be used. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ingot.drivers.shape import Json, child, link, text
from ingot.kit.ids import normal_mac

_NO_ADDRESS = "00:00:00:00:00:00"


def addresses(nic: Json) -> list[str]:
    """MACs of a card, the one in use first; [] where it tells none (or "Not Available")."""
    told = (normal_mac(text(nic, name)) for name in ("MACAddress", "PermanentMACAddress"))
    return list(dict.fromkeys(mac for mac in told if mac and mac != _NO_ADDRESS))


def is_controllers(nic: Json) -> bool:
    """Whether it is the controller's own card, on which the operating system talks to it (a USB device).

    Its address says nothing of the machine: whole series of boards have the same one.
    """
    return text(nic, "Id").lower() == "tomanager" or bool(
        link(child(nic, "Links"), "HostInterface")
    )


def is_enabled(nic: Json) -> bool:
    """False for a card that is switched off in the firmware; one without link is enabled.

    A State "Disabled" by itself is what some services (Supermicro's older ones) say of missing link.
    """
    return nic.get("InterfaceEnabled") is not False and _state(nic) != "Absent"


def has_carrier(nic: Json) -> bool | None:
    """Many controllers do not say; that is not "no"."""
    status = text(nic, "LinkStatus")
    if status:
        return status == "LinkUp"
    return False if _state(nic) == "Disabled" else None


def _state(nic: Json) -> str:
    return text(child(nic, "Status"), "State")


def own_cards(nics: Iterable[Json]) -> list[tuple[str, Json]]:
    """(address, card) of the machine's own cards, each address once."""
    found: dict[str, Json] = {}
    for nic in nics:
        if not is_controllers(nic) and (macs := addresses(nic)):
            found.setdefault(macs[0], nic)
    return list(found.items())
