"""From inspection data to findings; whatever an agent may send."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingot.baremetal.inspection import facts_of, findings, merge_capabilities
from ingot.kit.faults import Failed, Fault, Invalid

GIB = 1 << 30


def data(**more: Any) -> dict[str, Any]:
    inventory: dict[str, Any] = {
        "interfaces": [
            {"name": "eno1", "mac_address": "52:54:00:00:00:01", "has_carrier": True},
            {"name": "eno2", "mac_address": "52-54-00-00-00-02", "has_carrier": False},
            {"name": "lo", "mac_address": "00:00:00:00:00:00"},
        ],
        "cpu": {"architecture": "x86_64", "count": 8},
        "memory": {"physical_mb": 16384},
        "disks": [{"size": 2 * GIB}, {"size": 480 * GIB}, {"size": 960 * GIB}],
        "system_vendor": {"serial_number": "S1", "manufacturer": "Maker", "product_name": "M"},
        "boot": {"current_boot_mode": "uefi", "pxe_interface": None},
        "bmc_address": "10.0.0.9/24",
    }
    return {"inventory": inventory, **more}


def test_what_is_found() -> None:
    found = findings(data(boot_interface="01-52-54-00-00-00-01"))
    assert found.properties == {
        "cpu_arch": "x86_64",
        "cpus": 8,
        "memory_mb": 16384,
        "vendor": "Maker",
        "local_gb": 479,
    }
    assert [(nic.mac, nic.booted) for nic in found.nics] == [
        ("52:54:00:00:00:01", True),
        ("52:54:00:00:00:02", False),
    ]
    assert (found.boot_mode, found.identity.serial) == ("uefi", "S1")
    assert facts_of(data()).bmc_addresses() == ["10.0.0.9"]


def test_an_error_of_the_agent_is_told() -> None:
    with pytest.raises(Failed, match="no disks"):
        findings(data(error="no disks"))


def test_no_card_at_all() -> None:
    with pytest.raises(Failed, match="no network interface"):
        findings({"inventory": {"interfaces": []}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
PARTS = st.sampled_from(["interfaces", "cpu", "memory", "disks", "system_vendor", "boot"])


@given(st.dictionaries(PARTS, JSON, max_size=4), JSON)
def test_strange_data_is_refused_and_never_breaks(inventory: dict[str, Any], root: Any) -> None:
    try:
        findings({"inventory": {**data()["inventory"], **inventory}, "root_disk": root})
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
