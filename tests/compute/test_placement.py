"""Placement: a pure choice, and words for why there is none."""

from __future__ import annotations

import random

from ingot.services.baremetal import Candidate
from ingot.services.compute.placement import (
    Placement,
    PlacementRequest,
    matches,
    no_valid_host,
    rank,
    request_of,
    resource_class,
)


def machine(uuid: str, *traits: str, **more: object) -> Candidate:
    values: dict[str, object] = {
        "name": f"n-{uuid}",
        "resource_class": "baremetal",
        "traits": frozenset(traits),
        "cpus": 8,
        "memory_mb": 16384,
        "local_gb": 100,
        "cpu_arch": "x86_64",
        "capabilities": {},
        "networks": frozenset({"physnet1"}),
        "conductor_group": "",
        "owner": None,
        "lessee": None,
        "shard": None,
        "ports": 1,
        **more,
    }
    return Candidate(uuid=uuid, **values)  # type: ignore[arg-type]


BM = PlacementRequest(classes={"CUSTOM_BAREMETAL": 1})


def chosen(machines: list[Candidate], placing: Placement) -> list[str]:
    return [found.uuid for found in rank(machines, placing)]


def test_classes_are_normalized() -> None:
    assert resource_class("baremetal.gold-1") == "CUSTOM_BAREMETAL_GOLD_1"
    assert resource_class("CUSTOM_X") == "CUSTOM_X" and resource_class(None) == ""
    request = request_of({"resources:CUSTOM_X": "1", "resources:VCPU": "0"}, 4, 1024, 10)
    assert request.classes == {"CUSTOM_X": 1} and (request.vcpus, request.ram, request.disk) == (
        0,
        0,
        0,
    )
    assert request_of({}, 4, 1024, 10).ram == 1024


def test_traits_and_capabilities() -> None:
    request = request_of(
        {
            "resources:CUSTOM_BAREMETAL": "1",
            "trait:CUSTOM_A": "required",
            "trait:CUSTOM_B": "forbidden",
            "capabilities:boot_mode": "uefi",
        },
        1,
        1,
        1,
    )
    uefi = {"boot_mode": "uefi"}
    machines = [
        machine("1", capabilities=uefi),
        machine("2", "CUSTOM_A", "CUSTOM_B", capabilities=uefi),
        machine("3", "CUSTOM_A"),
        machine("4", "CUSTOM_A", capabilities=uefi),
    ]
    assert chosen(machines, Placement(request)) == ["4"]
    told = no_valid_host(machines[:3], Placement(request)).text
    assert "3 available machines" in told
    assert "1 without trait CUSTOM_A" in told and "1 with the forbidden trait CUSTOM_B" in told
    assert "1 without capability boot_mode:uefi" in told


def test_the_order_is_sure() -> None:
    machines = [
        machine("big", memory_mb=65536),
        machine("special", "CUSTOM_GPU"),
        machine("first"),
        machine("second"),
    ]
    assert chosen(machines, Placement(BM)) == ["first", "second", "big", "special"]
    spread = [machine(str(i), memory_mb=random.Random(i).randint(1, 9)) for i in range(50)]
    assert chosen(spread, Placement(BM)) == chosen(spread, Placement(BM))


def test_what_the_order_adds() -> None:
    machines = [machine("1"), machine("2", networks=frozenset({"other"})), machine("3", ports=2)]
    assert chosen(machines, Placement(BM, networks=("other",))) == ["2"]
    assert chosen(machines, Placement(BM, ports=2)) == ["3"]
    assert chosen(machines, Placement(BM, node="n-2")) == ["2"]
    assert chosen(machines, Placement(BM, excluded=frozenset({"1", "2"}))) == ["3"]
    owned = [machine("4", lessee="p-one")]
    assert chosen(owned, Placement(BM, project_id="p-two")) == []
    assert chosen(owned, Placement(BM, project_id="p-one")) == ["4"]
    assert "No machine is available" in no_valid_host([], Placement(BM)).text


def test_sizes_count_where_no_class_is_named() -> None:
    none = {"resource_class": None}
    small, unknown = (
        machine("small", memory_mb=512, **none),
        machine("unknown", memory_mb=0, **none),
    )
    fits = machine("fits", **none)
    request = request_of({}, 1, 1024, 1)
    assert chosen([small, unknown, fits], Placement(request)) == ["fits"]
    told = no_valid_host([small, unknown], Placement(request)).text
    assert "2 available machines: 2 smaller than" in told
    # A machine of a class is only for flavors that name it, but by the site's option.
    assert chosen([machine("gpu")], Placement(request)) == []
    assert "of a resource class" in no_valid_host([machine("gpu")], Placement(request)).text
    assert chosen([machine("gpu")], Placement(request, any_class=True)) == ["gpu"]
    assert Placement(request).accepts(None) and not Placement(request).accepts("gpu")
    assert Placement(BM).accepts("baremetal") and not Placement(BM).accepts(None)


def test_capability_words() -> None:
    assert matches("uefi", "uefi") and not matches(None, "uefi")
    assert matches("uefi,bios", "<in> bios") and matches("a", "<or> a <or> b")
    assert matches("x", "s== x") and not matches("y", "s== x")
