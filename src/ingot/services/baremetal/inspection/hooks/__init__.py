"""Inspection hooks: what is made of an inventory before the rules see it. Pure functions over the draft.

A hook is known by upstream's name. `validate-interfaces` and `ramdisk-error` look first, before anything is
changed; the others run in the order in which the settings name them. `run_hooks` gives the faults: an error
of the agent, or an inventory that makes no sense.

Left out of upstream's: storing the agent's logs; they are dropped when the data comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ingot.kit.faults import Failed
from ingot.kit.http import untrusted
from ingot.services.baremetal.inspection.draft import Draft
from ingot.services.baremetal.inspection.hooks import hardware, interfaces, lldp, storage
from ingot.services.baremetal.inspection.hooks.options import HookOptions

Hook = Callable[[Draft, HookOptions], None]


def _ramdisk_error(draft: Draft, _options: HookOptions) -> None:
    if error := draft.plugin_data.get("error"):
        raise Failed(
            f"The agent reports: {untrusted.words(str(error))}",
            next_action="Look at the machine's console log, then inspect again.",
        )


#: Run before all others, whatever their place.
FIRST: Mapping[str, Hook] = {
    "ramdisk-error": _ramdisk_error,
    "validate-interfaces": interfaces.validate,
}
HOOKS: Mapping[str, Hook] = {
    **FIRST,
    "ports": interfaces.ports,
    "architecture": hardware.architecture,
    "cpus": hardware.cpus,
    "memory": hardware.memory,
    "boot-mode": hardware.boot_mode,
    "cpu-capabilities": hardware.cpu_capabilities,
    "accelerators": hardware.accelerators,
    "pci-devices": hardware.pci_devices,
    "extra-hardware": hardware.extra_hardware,
    "root-device": storage.root_device,
    "raid-device": storage.raid_device,
    "physical-network": interfaces.physical_network,
    "local-link-connection": lldp.local_link_connection,
    "parse-lldp": lldp.parse_lldp,
}
#: Hooks that need what another one finds.
NEEDS: dict[str, str] = {
    "ports": "validate-interfaces",
    "physical-network": "validate-interfaces",
    "local-link-connection": "validate-interfaces",
}
#: Those that make no sense where no card is known.
ABOUT_INTERFACES = frozenset({"validate-interfaces", *NEEDS})
#: Upstream's, and memory, cpus, disk size and boot mode besides: schedulers want true numbers.
DEFAULT = (
    "ramdisk-error",
    "validate-interfaces",
    "ports",
    "architecture",
    "cpus",
    "memory",
    "root-device",
    "boot-mode",
)


def mistakes(names: Iterable[str]) -> list[str]:
    """What is wrong with a list of hooks."""
    chosen = list(names)
    wrong = [f"there is no hook {name}" for name in chosen if name not in HOOKS]
    for name in chosen:
        needed = NEEDS.get(name)
        if needed and needed not in chosen[: chosen.index(name)]:
            wrong.append(f"the hook {name} needs {needed} before it")
    return wrong


def run_hooks(draft: Draft, options: HookOptions, names: Iterable[str]) -> None:
    """Run hooks on the draft, in order. Failed or Invalid with what is wrong with the data."""
    chosen = list(names)
    for name, hook in FIRST.items():
        if name in chosen:
            hook(draft, options)
    for name in chosen:
        if name not in FIRST:
            HOOKS[name](draft, options)


__all__ = ["ABOUT_INTERFACES", "DEFAULT", "HOOKS", "HookOptions", "mistakes", "run_hooks"]
