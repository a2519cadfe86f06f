"""The registry's table, options and validation; fake hardware through the conformance kit."""

import pytest

from ingot.drivers.faults import Busy, DriverFault, Refused, Unsupported, hide
from ingot.drivers.machine import (
    BadOptions,
    DriverContext,
    UnknownDriver,
    UnknownInterface,
    base,
)
from ingot.drivers.machine.fake.chance import delay_seconds, failure
from ingot.drivers.machine.fake.world import FakeWorld
from ingot.drivers.machine.hardware import build_registry
from ingot.drivers.machine.registry import Registry
from ingot.drivers.machine.testing import Bench, check_all
from ingot.drivers.machine.types import Access, BootDevice, PowerState, PowerTarget
from ingot.kit.faults import Invalid
from ingot.kit.tasks.clock import SystemClock, VirtualClock


def make_registry(**options: object) -> Registry:
    return build_registry(DriverContext(SystemClock()), **options)  # type: ignore[arg-type]


def test_every_row_of_the_table_is_what_it_says() -> None:
    registry = make_registry()
    assert registry.hardware_types() == (
        *("redfish", "idrac", "ipmi", "manual-management", "fake-hardware"),
    )
    for driver in registry.hardware_types():
        for capability in base.CAPABILITIES:
            names = registry.enabled(driver, capability)
            assert names and len(set(names)) == len(names), (driver, capability, names)
            protocol = getattr(base, capability.capitalize())
            for name in names:
                made = registry.resolve(driver, capability, name)
                assert isinstance(made, protocol), (driver, capability, name)
                assert registry.resolve(driver, capability, name) is not None


def test_defaults_and_enabling() -> None:
    registry = make_registry(
        enabled_hardware_types=["ipmi"], enabled_interfaces={"console": ["no-console"]}
    )
    assert registry.default_name("ipmi", "console") == "no-console"
    assert registry.default_name("ipmi", "deploy") == "direct"
    with pytest.raises(UnknownDriver, match="redfish"):
        registry.enabled("redfish", "power")
    with pytest.raises(UnknownInterface, match="ipmitool-sol"):
        registry.console("ipmi", "ipmitool-sol")
    with pytest.raises(UnknownDriver):
        make_registry(enabled_hardware_types=["nonsense"])


def test_the_operators_default() -> None:
    registry = make_registry(default_interfaces={"deploy": "ramdisk", "bios": "no-bios"})
    assert registry.default_name("ipmi", "deploy") == "ramdisk"
    assert registry.default_name("fake-hardware", "bios") == "no-bios"
    assert registry.spec("ipmi", "deploy", "direct").name == "direct", "a choice counts more"
    odd = make_registry(default_interfaces={"power": "ipmitool"})
    with pytest.raises(UnknownInterface, match="does not have the default power interface"):
        odd.default_name("redfish", "power")
    assert odd.spec("redfish", "power", "redfish").name == "redfish"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"enabled_interfaces": {"boots": ["ipxe"]}}, "no capability boots"),
        ({"enabled_interfaces": {"boot": ["ipx"]}}, "boot interface ipx"),
        ({"default_interfaces": {"boot": "ipx"}}, "boot interface ipx"),
        (
            {
                "enabled_interfaces": {"deploy": ["direct"]},
                "default_interfaces": {"deploy": "ramdisk"},
            },
            "ramdisk is not enabled",
        ),
        ({"enabled_interfaces": {"power": ["redfish"]}}, "no enabled power interface fits"),
    ],
)
def test_wrong_choices_of_an_operator(options: dict[str, object], words: str) -> None:
    with pytest.raises(UnknownInterface, match=words):
        make_registry(**options)


def test_properties_and_secrets() -> None:
    registry = make_registry()
    assert "Required" in registry.properties("redfish")["redfish_address"]
    assert registry.secret_names("ipmi") == {"ipmi_password", "ipmi_hex_kg_key"}


@pytest.mark.parametrize(
    ("info", "complaint"),
    [
        ({}, "ipmi_address is missing"),
        ({"ipmi_address": "10.0.0.1", "ipmi_port": "70000"}, "at most 65535"),
        ({"ipmi_address": "10.0.0.1", "ipmi_port": "x"}, "a number is expected"),
        ({"ipmi_address": "10.0.0.1", "ipmi_priv_level": "ROOT"}, "ADMINISTRATOR"),
        ({"ipmi_address": "10.0.0.1\n-v"}, "control characters"),
        ({"ipmi_address": ["10.0.0.1"]}, "a string is expected"),
    ],
)
def test_bad_driver_info(info: dict[str, object], complaint: str) -> None:
    with pytest.raises(BadOptions, match=complaint):
        make_registry().access("ipmi", info)


def test_unknown_options_are_ignored_and_told() -> None:
    """Upstream ignores them; Metal3 sends ipmi_verify_ca to every IPMI node."""
    registry = make_registry()
    info = {"ipmi_address": "h", "ipmi_verify_ca": False, "ipmi_passwort": "x", "rack": "A7"}
    registry.access("ipmi", info)
    assert not any(registry.validate("ipmi", info).values())
    told = {
        name: [p.text for p in found] for name, found in registry.warnings("ipmi", info).items()
    }
    assert (
        told["power"]
        == told["management"]
        == [
            "ipmi_verify_ca is not an option of ipmi and is ignored",
            "ipmi_passwort is not an option of ipmi and is ignored (did you mean ipmi_password?)",
        ]
    )
    assert told["deploy"] == []
    misspelt = {"ipmi_addres": "h"}
    assert "ipmi_address is missing" in str(registry.validate("ipmi", misspelt)["power"])
    assert "did you mean ipmi_address?" in str(registry.warnings("ipmi", misspelt)["power"])
    many = {f"ipmi_{n}": n for n in range(1000)}
    assert len(registry.warnings("ipmi", many)["power"]) == 10


def test_idrac_is_redfish_under_upstreams_names() -> None:
    registry = make_registry()
    names = {name: registry.enabled("idrac", name) for name in base.CAPABILITIES}
    assert names["power"] == ("idrac-redfish", "redfish")
    assert names["management"] == ("idrac-redfish", "redfish", "noop")
    network = ("ipxe", "pxe", "http-ipxe", "http")
    media = ("idrac-redfish-virtual-media", "redfish-virtual-media", "redfish-https")
    assert names["boot"] == (*network, *media)
    assert names["bios"] == ("idrac-redfish", "redfish", "no-bios")
    assert names["vendor"] == ("idrac-redfish", "redfish", "no-vendor")
    assert names["raid"] == ("idrac-redfish", "redfish", "no-raid", "agent")
    assert names["inspect"] == ("agent", "idrac-redfish", "redfish", "no-inspect")
    assert names["firmware"] == ("redfish", "no-firmware")
    assert registry.options("idrac") and registry.properties("idrac") == registry.properties(
        "redfish"
    )
    assert registry.secret_names("idrac") == {"redfish_password", *registry.secret_names("redfish")}
    only = make_registry(
        enabled_hardware_types=["idrac"], enabled_interfaces={"power": ["idrac-redfish"]}
    )
    assert only.default_name("idrac", "power") == "idrac-redfish"


def test_foreign_keys_pass_and_values_are_typed() -> None:
    info = {"ipmi_address": "h", "ipmi_port": "6230", "rack": "A7", "cleaning_network": "n"}
    access = make_registry().access("ipmi", info, key="n1")
    assert access.options["ipmi_port"] == 6230 and access.options["rack"] == "A7"
    assert access.number("ipmi_port", 0) == 6230 and access.text("ipmi_priv_level")


def test_only_the_asked_capabilities_count() -> None:
    registry = make_registry()
    info = {"redfish_address": "https://bmc"}
    registry.access("redfish", info, {"console": "ipmitool-sol"})
    problems = registry.validate("redfish", info, {"console": "ipmitool-sol"})
    assert problems["power"] == () and problems["console"][0].option == "ipmi_address"


def test_secrets_are_hidden() -> None:
    assert hide("wrong pass word: pa55 and pa555", ["pa55", "pa555"]) == (
        "wrong pass word: ****** and ******"
    )
    assert len(hide("x" * 5000)) == 600
    assert "pa55" not in repr(Access("ipmi", {"ipmi_password": "pa55"}))


@pytest.mark.anyio
async def test_fake_conforms() -> None:
    world = FakeWorld()
    registry = build_registry(DriverContext(SystemClock(), world=world))
    machine = world.machine("m1")
    machine.user, machine.password = "u", "fake-secret"

    async def cycles() -> int:
        return machine.power_cycles

    bench = Bench(
        registry=registry,
        driver="fake-hardware",
        driver_info={"fake_id": "m1", "fake_username": "u", "fake_password": "fake-secret"},
        wrong_password={"fake_password": "guessed"},
        dead={"fake_fail": "*=1:unreachable"},
        secrets=("fake-secret",),
        cycles=cycles,
    )
    await check_all(bench)


@pytest.mark.anyio
async def test_fake_state_survives_by_snapshot() -> None:
    first = FakeWorld()
    context = DriverContext(SystemClock(), world=first)
    registry = build_registry(context)
    access = Access("fake-hardware", key="n1")
    await registry.power("fake-hardware").set(access, PowerTarget.ON)
    await registry.management("fake-hardware").set_boot_device(access, BootDevice.BIOS, True)
    second = FakeWorld()
    second.restore(first.snapshot())
    again = build_registry(DriverContext(SystemClock(), world=second))
    assert await again.power("fake-hardware").get(access) is PowerState.ON
    found = await again.management("fake-hardware").get_boot_device(access)
    assert found.device is BootDevice.BIOS and found.persistent


@pytest.mark.anyio
async def test_fake_power_is_what_the_node_was_last_seen_with() -> None:
    asked: list[str] = []
    records = {"n1": "power on", "n2": "power off", "n3": None}

    async def recall(key: str) -> str | None:
        asked.append(key)
        return records.get(key)

    registry = build_registry(DriverContext(SystemClock(), world=FakeWorld(recall=recall)))
    power = registry.power("fake-hardware")
    for _ in range(2):
        found = [await power.get(Access("fake-hardware", key=key)) for key in ("n1", "n2", "n3")]
        assert found == [PowerState.ON, PowerState.OFF, PowerState.OFF]
    assert asked == ["n1", "n2", "n3"], "once for each"
    # A process that switched it knows better than the record.
    await power.set(Access("fake-hardware", key="n1"), PowerTarget.OFF)
    assert await power.get(Access("fake-hardware", key="n1")) is PowerState.OFF


@pytest.mark.anyio
async def test_manual_asks_a_human() -> None:
    power = make_registry().power("manual-management")
    with pytest.raises(Unsupported) as caught:
        await power.set(Access("manual-management"), PowerTarget.ON)
    assert caught.value.next_action == "Switch the machine on."


def test_chance() -> None:
    chance = FakeWorld(seed=7).machine("a").random_state
    rules = "power.set=lognormal:2,0.5; management.*=fixed:3; 0.5"
    drawn = [delay_seconds(rules, "power.set", chance) for _ in range(2000)]
    assert 1.85 < sorted(drawn)[1000] < 2.15 and max(drawn) > 4
    assert delay_seconds(rules, "management.sensors", chance) == 3
    assert delay_seconds(rules, "deploy.deploy", chance) == 0.5
    failed = [failure("power.set=0.1:busy", "power.set", chance) for _ in range(2000)]
    assert 140 < sum(isinstance(f, Busy) for f in failed) < 260
    assert isinstance(failure("*=1", "x.y", chance), Refused)
    assert failure("power.set=1", "power.get", chance) is None
    for bad in ("lognormal:2", "x.y=gamma:1,2", "1e999", "-1", "fixed:nan"):
        with pytest.raises(Invalid):
            delay_seconds(bad, "x.y", chance)
    with pytest.raises(Invalid):
        failure("*=0.5:tired", "x.y", chance)


def test_a_seed_reproduces() -> None:
    draws = [
        [delay_seconds("exponential:5", "a.b", FakeWorld(seed).machine("m").random_state)]
        for seed in (1, 1, 2)
    ]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.anyio
async def test_fake_delay_takes_virtual_time() -> None:
    import asyncio

    clock = VirtualClock()
    registry = build_registry(DriverContext(clock))
    access = Access("fake-hardware", {"fake_delay": "deploy.deploy=fixed:600"}, "n")
    task = asyncio.create_task(registry.deploy("fake-hardware").run(access, "deploy", {}))
    await asyncio.sleep(0)
    clock.advance(599)
    await asyncio.sleep(0)
    assert not task.done()
    clock.advance(1)
    await task


def test_faults_are_kit_faults_with_kinds() -> None:
    kinds = {kind.kind for kind in DriverFault.__subclasses__()}
    assert len(kinds) == 5
    assert Busy("x").transient and not Refused("x").transient
