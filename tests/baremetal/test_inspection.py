"""From inspection data to a finished draft: hooks, and whatever an agent may send."""

from __future__ import annotations

from typing import Any

import pytest
from drafts import GIB, NODE, data, draft_of
from hypothesis import given
from hypothesis import strategies as st

from ingot.kit.faults import Failed, Fault, Invalid
from ingot.services.baremetal.inspection.draft import (
    PORT_FIELDS,
    Draft,
    PortDraft,
    merge_capabilities,
)
from ingot.services.baremetal.inspection.facts import (
    InspectionBounds,
    InspectionOptions,
    facts_of,
    finish,
    inspection_options,
    parted,
)
from ingot.services.baremetal.inspection.hooks import (
    DEFAULT,
    HOOKS,
    HookOptions,
    mistakes,
    run_hooks,
)
from ingot.services.baremetal.inspection.hooks.hints import match
from ingot.settings import Inspection

MAC = "52:54:00:00:00:01"


def ran(*hooks: str, options: HookOptions | None = None, ports: Any = (), **more: Any) -> Draft:
    draft = draft_of(data(**more))
    draft.ports = list(ports)
    run_hooks(draft, options or HookOptions(), hooks)
    return draft


def port(mac: str, **values: Any) -> PortDraft:
    return PortDraft(
        "11111111-1111-4111-8111-111111111111",
        {**PORT_FIELDS, "address": mac, "extra": {}, "local_link_connection": {}, **values},
    )


def test_what_is_found_by_default() -> None:
    draft = draft_of(data(boot_interface="01-52-54-00-00-00-01"))
    finish(draft, InspectionOptions(), DEFAULT, [])
    assert draft.properties == {
        "cpu_arch": "x86_64",
        "cpus": 8,
        "memory_mb": 16384,
        "vendor": "Maker",
        "local_gb": 479,
        "capabilities": "boot_mode:uefi",
    }
    (made,) = draft.ports
    assert (made.uuid, made.address, made.values["pxe_enabled"]) == (None, MAC, True)
    assert made.values["extra"] == {"interface": "eno1"}
    assert draft.boot_mode == "uefi"
    assert set(draft.plugin_data["all_interfaces"]) == {"eno1", "eno2"}
    assert draft.plugin_data["macs"] == [MAC]
    facts, _, _ = parted(data(), InspectionBounds())
    assert facts.identity().serial == "S1"
    assert facts_of(data()).bmc_addresses() == ["10.0.0.9"]


def test_an_error_of_the_agent_is_told() -> None:
    with pytest.raises(Failed, match="no disks"):
        ran(*DEFAULT, error="no disks")


def test_no_card_at_all() -> None:
    with pytest.raises(Failed, match="no network interface"):
        run_hooks(draft_of({"inventory": {"interfaces": []}}), HookOptions(), DEFAULT)


@pytest.mark.parametrize(
    ("add", "booted", "made"),
    [
        ("pxe", "52:54:00:00:00:02", ["52:54:00:00:00:02"]),
        ("pxe", None, [MAC, "52:54:00:00:00:02"]),  # as upstream: which one booted is not told
        ("all", MAC, [MAC, "52:54:00:00:00:02"]),
        ("active", MAC, []),
        ("disabled", MAC, []),
    ],
)
def test_which_cards_become_ports(add: str, booted: str | None, made: list[str]) -> None:
    names, options = ("validate-interfaces", "ports"), HookOptions(add_ports=add)
    if add == "active":
        with pytest.raises(Failed, match="add_ports"):
            ran(*names, options=options, boot_interface=booted)
        return
    draft = ran(*names, options=options, boot_interface=booted)
    assert [one.address for one in draft.ports] == made


def test_cards_without_link_become_ports_and_disabled_ones_do_not() -> None:
    """Out of band nothing is told of the card that booted, and links are often down."""
    cards: list[dict[str, Any]] = [
        {"name": f"NIC{n}", "mac_address": f"52:54:00:00:00:0{n}", "has_carrier": carrier}
        for n, carrier in enumerate((False, None, True, None), 1)
    ]
    cards[3]["enabled"] = False
    told: dict[str, Any] = {"inventory": {"interfaces": cards}}
    draft = draft_of(told)
    run_hooks(draft, HookOptions(), DEFAULT)
    assert {one.address[-2:]: one.values["pxe_enabled"] for one in draft.ports} == {
        "01": False,  # others have link
        "02": True,
        "03": True,
    }
    for card in cards:
        card["has_carrier"] = False
    draft = draft_of(told)
    run_hooks(draft, HookOptions(), DEFAULT)
    assert {one.address[-2:]: one.values["pxe_enabled"] for one in draft.ports} == {
        "01": True,
        "02": True,
        "03": True,
    }
    for card in cards:
        card["enabled"] = False
    with pytest.raises(Failed, match="add_ports"):
        run_hooks(draft_of(told), HookOptions(), DEFAULT)


def test_ports_that_are_there() -> None:
    names = ("validate-interfaces", "ports")
    known = [port("52:54:00:00:00:02"), port("52:54:00:00:00:99")]
    kept = ran(*names, ports=known, boot_interface=MAC)
    assert {one.address: one.values["pxe_enabled"] for one in kept.ports} == {
        MAC: True,
        "52:54:00:00:00:02": False,
        "52:54:00:00:00:99": False,
    }
    options = HookOptions(keep_ports="present", update_pxe_enabled=False)
    known = [port("52:54:00:00:00:02"), port("52:54:00:00:00:99")]
    left = ran(*names, ports=known, boot_interface=MAC, options=options)
    assert {one.address: one.values["pxe_enabled"] for one in left.ports} == {
        MAC: True,
        "52:54:00:00:00:02": True,
    }
    options = HookOptions(keep_ports="added")
    left = ran(*names, ports=known[:1], boot_interface=MAC, options=options)
    assert [one.address for one in left.ports] == [MAC]
    # Nothing is told of the card that booted: what is set stays.
    assert ran(*names, ports=[port(MAC, pxe_enabled=False)]).ports[0].values["pxe_enabled"] is False


def test_capabilities_and_devices() -> None:
    devices = [
        {"vendor_id": "10de", "product_id": "1eb8", "bus": "0000:3b:00.0"},
        {"vendor_id": "0x8086", "product_id": "0x1593", "bus": "0000:31:00.0"},
        {"vendor_id": "8086", "product_id": "1593", "bus": "0000:31:00.1"},
        "strange",
    ]
    options = HookOptions(pci_aliases={("8086", "1593"): "nic25"})
    draft = ran(
        "cpu-capabilities", "pci-devices", "accelerators", options=options, pci_devices=devices
    )
    assert draft.properties["capabilities"] == "cpu_vt:true,cpu_aes:true,nic25:2"
    (gpu,) = draft.properties["accelerators"]
    assert (gpu["type"], gpu["pci_address"]) == ("GPU", "0000:3b:00.0")
    assert "accelerators" not in ran("accelerators").properties


def test_extra_hardware() -> None:
    records = [["cpu", "physical", "number", "2"], ["disk", "sda", "size", "big"], ["short"], []]
    assert ran("extra-hardware", data=records).plugin_data["extra"] == {
        "cpu": {"physical": {"number": 2}},
        "disk": {"sda": {"size": "big"}},
    }
    strict = HookOptions(extra_hardware_strict=True)
    draft = ran("extra-hardware", data=records, options=strict)
    assert "extra" not in draft.plugin_data and "data" not in draft.plugin_data
    assert ran("extra-hardware", data="x").plugin_data["data"] == "x"


@pytest.mark.parametrize(
    ("hints", "names"),
    [
        ({"size": ">= 400"}, ["sdb", "sdc"]),
        ({"size": 480}, ["sdb"]),
        ({"size": "<or> 2 <or> 960"}, ["sda", "sdc"]),
        ({"size": "= 480"}, ["sdb", "sdc"]),
        ({"size": "< 480"}, ["sda"]),
        ({"model": "<in> nvme"}, ["sdc"]),
        ({"model": "s!= fast nvme"}, ["sda", "sdb"]),
        ({"model": "<all-in> nvme fast"}, ["sdc"]),
        ({"model": "Fast%20NVMe"}, ["sdc"]),
        ({"serial": "<or> D0 <or> D1"}, ["sda", "sdb"]),
        ({"rotational": "true"}, ["sdb"]),
        ({"rotational": False, "serial": "D2"}, ["sdc"]),
        ({"wwn": "0x1"}, []),
    ],
)
def test_root_device_hints(hints: dict[str, Any], names: list[str]) -> None:
    disks = data()["inventory"]["disks"]
    assert [disk["name"] for disk in disks if match(disk, hints)] == names


def test_the_root_disk() -> None:
    assert ran("root-device", root_disk={"size": 960 * GIB}).properties["local_gb"] == 959
    for hints, size in (({"serial": "D2"}, 959), ({"size": "> 5000"}, None), ({"x": 1}, None)):
        draft = draft_of(data())
        draft.properties["root_device"] = hints
        if size is None:
            with pytest.raises(Failed, match="root device hints"):
                run_hooks(draft, HookOptions(), ["root-device"])
            continue
        run_hooks(draft, HookOptions(), ["root-device"])
        assert (draft.properties["local_gb"], draft.plugin_data["root_disk"]["name"]) == (
            959,
            "sdc",
        )
    draft = draft_of(data())
    draft.properties["skip_block_devices"] = [{"serial": "D1"}]
    run_hooks(draft, HookOptions(), ["root-device"])
    assert draft.properties["local_gb"] == 959


def test_the_disk_that_is_new_is_the_raid_volume() -> None:
    for before, found in ((("D0", "D1"), {"serial": "D2"}), (("D0",), None), ((), None)):
        draft = draft_of(data())
        draft.before = before
        run_hooks(draft, HookOptions(), ["raid-device"])
        assert draft.properties.get("root_device") == found


def test_physical_networks_by_address() -> None:
    nets = {"10.1.0.0/16": "storage", "10.0.0.0/8": "provider"}
    cards = [
        {"name": "eno1", "mac_address": MAC, "ipv4_address": "10.1.2.3", "has_carrier": True},
        {"name": "eno2", "mac_address": "52:54:00:00:00:02", "ipv6_address": "fe80::1%eno2"},
    ]
    draft = draft_of({"inventory": {"interfaces": cards}})
    options = HookOptions(add_ports="all", physical_networks=nets)
    run_hooks(draft, options, ["validate-interfaces", "ports", "physical-network"])
    assert [one.values["physical_network"] for one in draft.ports] == ["storage", None]


LLDP = [
    [1, "04112233aabbcc"],
    [2, "05" + b"Ethernet1/7".hex()],
    [3, "0078"],
    [4, b"to rack 3".hex()],
    [5, b"leaf-3".hex()],
    [6, b"A switch".hex()],
    [7, "00140004"],
    [8, "05010a0000fe0200000001" + "00"],
    [127, "0080c2010064"],
    [127, "0080c203006405" + b"vlan1".hex()],
    [127, "0080c202060065"],
    [127, "0080c2040288cc"],
    [127, "0080c20600c8"],
    [127, "0080c2070300000007"],
    [127, "00120f01036c11001e"],
    [127, "00120f0405dc"],
    [127, "ffffff0100"],
    [0, ""],
    [2, "zz"],
    [9, "00"],
    [7, "00"],
]


def test_what_a_switch_says() -> None:
    hooks = ("validate-interfaces", "ports", "parse-lldp", "local-link-connection")
    draft = ran(*hooks, boot_interface=MAC, lldp_raw={"eno1": LLDP})
    assert draft.plugin_data["parsed_lldp"]["eno1"] == {
        "switch_chassis_id": "11:22:33:aa:bb:cc",
        "switch_port_id": "Ethernet1/7",
        "switch_port_description": "to rack 3",
        "switch_system_name": "leaf-3",
        "switch_system_description": "A switch",
        "switch_capabilities_support": ["Bridge", "Router"],
        "switch_capabilities_enabled": ["Bridge"],
        "switch_mgmt_addresses": ["10.0.0.254"],
        "switch_port_untagged_vlan_id": 100,
        "switch_port_vlans": [{"name": "vlan1", "id": 100}],
        "switch_port_protocol_vlan_enabled": True,
        "switch_port_protocol_vlan_support": True,
        "switch_port_protocol_vlan_ids": [101],
        "switch_protocol_identities": ["88cc"],
        "switch_port_management_vlan_id": 200,
        "switch_port_link_aggregation_enabled": True,
        "switch_port_link_aggregation_support": True,
        "switch_port_link_aggregation_id": 7,
        "switch_port_autonegotiation_enabled": True,
        "switch_port_autonegotiation_support": True,
        "switch_port_physical_capabilities": [
            "1000BASE-T fdx",
            "100BASE-TX fdx",
            "100BASE-TX hdx",
            "10BASE-T fdx",
            "10BASE-T hdx",
            "Asym and Sym PAUSE fdx",
        ],
        "switch_port_mau_type": "1000BASE-T full duplex",
        "switch_port_mtu": 1500,
    }
    assert draft.ports[0].values["local_link_connection"] == {
        "port_id": "Ethernet1/7",
        "switch_id": "11:22:33:aa:bb:cc",
        "switch_info": "leaf-3",
    }


def test_hooks_are_chosen_in_the_settings() -> None:
    assert mistakes(DEFAULT) == []
    assert mistakes(["ports", "validate-interfaces", "x"]) == [
        "there is no hook x",
        "the hook ports needs validate-interfaces before it",
    ]
    import msgspec

    given = msgspec.to_builtins(Inspection(hooks=["validate-interfaces", "memory"]))
    options = inspection_options(given)
    assert options.hooks == ("validate-interfaces", "memory")
    assert options.out_of_band_hooks == DEFAULT
    with pytest.raises(Invalid, match=r"inspection\.hooks: there is no hook x"):
        inspection_options({**given, "hooks": ["x"]})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
PARTS = st.sampled_from(["interfaces", "cpu", "memory", "disks", "system_vendor", "boot"])
PLUGIN = st.sampled_from(["root_disk", "boot_interface", "pci_devices", "lldp_raw", "data", "x"])


@given(st.dictionaries(PARTS, JSON, max_size=4), st.dictionaries(PLUGIN, JSON, max_size=4))
def test_strange_data_is_refused_and_never_breaks(
    inventory: dict[str, Any], plugin_data: dict[str, Any]
) -> None:
    sent = {**plugin_data, "inventory": {**data()["inventory"], **inventory}}
    try:
        _, found, plugin = parted(sent, InspectionBounds())
        draft = Draft(NODE, {"properties": {}}, [], found, plugin)
        finish(draft, InspectionOptions(), [*HOOKS], [])
    except (Invalid, Failed) as fault:
        assert isinstance(fault, Fault)
        assert fault.text


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
        st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True),
    )
)
def test_capabilities_are_merged(pairs: dict[str, str]) -> None:
    text = merge_capabilities("boot_mode:bios,x:1", pairs)
    merged = dict(part.split(":") for part in text.split(","))
    assert merged == {"boot_mode": "bios", "x": "1", **pairs}
