"""The file that `openstack baremetal create FILE` takes, for machines of a fleet."""

from __future__ import annotations

from typing import Any

from ingot.lab.sim.machine import Machine
from ingot.lab.sim.personalities import personality
from ingot.lab.sim.redfish_docs import SYSTEM
from ingot.lab.sim.types import BootMode


def enrol_node(
    machine: Machine,
    *,
    protocol: str,
    address: str,
    port: int,
    username: str,
    password: str,
    tls: bool,
    resource_class: str,
) -> dict[str, Any]:
    """One node with its port. What the personality says is enrolled wrongly, is wrong here."""
    mistake = personality(machine.personality).enrol
    if mistake == "password":
        password = "not-" + password
    mac = machine.hardware.nics[0].mac
    if mistake == "mac":
        mac = "52:54:ff" + mac[8:]
    if protocol == "ipmi":
        info: dict[str, Any] = {
            "ipmi_address": address,
            "ipmi_port": port,
            "ipmi_username": username,
            "ipmi_password": password,
        }
        if not machine.faults.ipmi_silent_17:
            info["ipmi_cipher_suite"] = "17"
    else:
        info = {
            "redfish_address": f"{'https' if tls else 'http'}://{address}:{port}",
            "redfish_system_id": SYSTEM,
            "redfish_username": username,
            "redfish_password": password,
        }
        if tls:
            info["redfish_verify_ca"] = False
    hardware = machine.hardware
    mode = "uefi" if hardware.firmware is BootMode.UEFI else "bios"
    return {
        "name": machine.name,
        "driver": protocol,
        "driver_info": info,
        "properties": {
            "cpu_arch": hardware.arch,
            "capabilities": f"boot_mode:{mode}",
        },
        "resource_class": resource_class,
        "ports": [{"address": mac, "pxe_enabled": True}],
    }


def enrol_document(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    return {"nodes": nodes}
