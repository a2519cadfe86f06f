"""What sushy, OpenStack's own Redfish library, reads of a service: run by itself, without Ingot; JSON out.

python second_reader.py ADDRESS SYSTEM USER PASSWORD
"""

from __future__ import annotations

import json
import sys

import sushy
from sushy import auth


def read(address: str, path: str, user: str, password: str) -> dict[str, object]:
    root = sushy.Sushy(address, auth=auth.BasicAuth(user, password), verify=False)
    system = root.get_system(path)
    told: dict[str, object] = {
        "power": system.power_state.value if system.power_state else None,
        "memory_gib": system.memory_summary.size_gib if system.memory_summary else None,
        "mode": system.boot.mode.value if system.boot and system.boot.mode else None,
        "uuid": system.uuid,
    }
    for name, ask in (
        ("cpus", lambda: system.processors.summary.count),
        (
            "macs",
            lambda: sorted(
                n.mac_address.lower()
                for n in system.ethernet_interfaces.get_members()
                if n.mac_address
            ),
        ),
        ("settings", lambda: system.bios.attributes),
    ):
        try:
            told[name] = ask()
        except Exception as error:  # what it cannot read, it does not judge
            told[name] = f"! {type(error).__name__}"
    return told


if __name__ == "__main__":
    print(json.dumps(read(*sys.argv[1:])))
