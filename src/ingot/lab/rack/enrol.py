"""The file by which a rack's machines are enrolled: what `openstack baremetal create FILE` takes."""

from typing import Any

from ingot.lab.rack.types import BmcSpec, MachineSpec, RackSpec


def enrol_file(spec: RackSpec) -> dict[str, Any]:
    """`{"nodes": [...]}` with credentials, properties and ports of every machine."""
    return {"nodes": [_node(machine) for machine in spec.machines]}


def _node(machine: MachineSpec) -> dict[str, Any]:
    return {
        "name": machine.name,
        "driver": machine.bmc.kind,
        "driver_info": _driver_info(machine.bmc),
        "properties": {
            "cpus": machine.cpus,
            "memory_mb": machine.memory_mb,
            "local_gb": machine.disks_gb[0] if machine.disks_gb else 0,
            "cpu_arch": "x86_64",
            "capabilities": f"boot_mode:{machine.firmware}",
        },
        "ports": [{"address": machine.mac, "pxe_enabled": True}],
    }


def _driver_info(bmc: BmcSpec) -> dict[str, Any]:
    if bmc.kind == "ipmi":
        return {
            "ipmi_address": bmc.address,
            "ipmi_port": bmc.port,
            "ipmi_username": bmc.username,
            "ipmi_password": bmc.password,
            "ipmi_cipher_suite": "3",  # ipmi_sim does not answer the query for better ones
        }
    # No redfish_system_id: each BMC shows one system. sushy-tools puts the UUID in its path, so that
    # a swapped BMC would look like a missing path instead of like another machine.
    return {
        "redfish_address": f"http://{bmc.address}:{bmc.port}",
        "redfish_username": bmc.username,
        "redfish_password": bmc.password,
    }
