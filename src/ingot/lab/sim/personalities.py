"""Kinds of misbehaving hardware, each standing for a public report.

`source` names the thread (owner/repository#number) in which people met the behaviour.
`expect` is what a good controller makes of it: `recovers` (the machine gets to its goal with
retries, another boot, a power cycle) or `stops` (the goal is out of reach; the controller must
say the cause and accept a verb that leads on). `cause` holds words that a useful message would
have. The seeded draw of each personality decides how hard it strikes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from ingot.lab.sim.faults import ALWAYS

RECOVERS = "recovers"
STOPS = "stops"

Draw = Callable[[random.Random], dict[str, object]]


@dataclass(frozen=True)
class Personality:
    name: str
    summary: str
    source: str
    expect: str
    draw: Draw
    cause: str = ""
    enrol: str = ""
    """How the enrolment file differs from the truth: `password` or `mac`; else empty."""


def _fixed(**knobs: object) -> Draw:
    return lambda _rng: dict(knobs)


def _slow(rng: random.Random) -> dict[str, object]:
    low = rng.uniform(20, 60)
    return {"reply_delay": (low, low + rng.uniform(30, 90))}


_ALL = (
    Personality("healthy", "Does what it says.", "(none)", RECOVERS, _fixed()),
    Personality(
        "slow-bmc",
        "Each answer of the BMC takes long; big clients give up before it comes.",
        "DMTF/Redfishtool#15; chaos/powerman#67 (46 s for one power-on); "
        "dsx-ai-factory/infra-controller#1584 (minutes for one page)",
        RECOVERS,
        _slow,
    ),
    Personality(
        "stale-power",
        "Goes on reporting the old power state for up to two minutes after a change.",
        "openbmc/openbmc#804 (off for 3 min after power on); openbmc/bmcweb#12",
        RECOVERS,
        lambda rng: {"stale_power": rng.uniform(30, 120)},
    ),
    Personality(
        "lies-on",
        "Reports On for ever, although the machine is off.",
        "openbmc/bmcweb#12 (chassis PowerState On while host is off); openbmc/openbmc#926",
        STOPS,
        _fixed(power_reads_on=ALWAYS),
        cause="power",
    ),
    Personality(
        "freezes-after-burst",
        "Stops answering for a while when asked too often in a second.",
        "siderolabs/omni#785; metal3-io/ironic-image#688; ibm-openbmc/dev#3641",
        RECOVERS,
        lambda rng: {
            "freeze_burst": rng.randint(6, 12),
            "freeze_seconds": rng.uniform(20, 90),
        },
    ),
    Personality(
        "busy-at-random",
        "Answers 503 (Redfish) or node busy (IPMI) to some requests.",
        "openbmc/openbmc#968; openbmc/openbmc#966; xcat2/xcat-core#4264",
        RECOVERS,
        lambda rng: {"busy_rate": rng.uniform(0.1, 0.3)},
    ),
    Personality(
        "off-after-reset",
        "A reset leaves the machine off instead of on.",
        "xcat2/xcat-core#5410 (host stays off after reset); MAAS LP#2117200 (wrong power state)",
        RECOVERS,
        lambda rng: {"reset_stays_off": rng.randint(1, 2)},
    ),
    Personality(
        "power-on-ignored-once",
        "Accepts the power-on and does nothing; a second one works.",
        "dsx-ai-factory/infra-controller#595 (Lenovo BMC); device-management-toolkit/console#1069",
        RECOVERS,
        lambda rng: {"power_on_ignored": rng.randint(1, 2)},
    ),
    Personality(
        "power-off-ignored-once",
        "Accepts the power-off and does nothing; a second one works.",
        "quadsproject/badfish#40 (polling for Off in vain after a graceful restart)",
        RECOVERS,
        _fixed(power_off_ignored=1),
    ),
    Personality(
        "loses-boot-override",
        "Boots from disk although network boot was set.",
        "metal3-io/baremetal-operator#1187; ironcore-dev/metal-operator#80 (iDRAC9)",
        RECOVERS,
        lambda rng: {"boot_override_lost": rng.randint(1, 2)},
    ),
    Personality(
        "override-sticks",
        "A one-time boot override becomes permanent.",
        "kubevirtbmc/kubevirtbmc#165 (Once silently becomes Continuous)",
        RECOVERS,
        _fixed(override_sticks=ALWAYS),
    ),
    Personality(
        "duplicate-uuid",
        "Two machines report one and the same system UUID.",
        "SolidRun/lx2160a_uefi#4; siderolabs/talos#7694; siderolabs/sidero#930 (Dell C6100)",
        RECOVERS,
        _fixed(reported_uuid="8a95d198-7f46-11e5-bf8b-08002704d48e"),
    ),
    Personality(
        "wrong-password",
        "The enrolled password is not the BMC's; a few failures lock the account.",
        "ibm-openbmc/openbmc#90 (5 failures lock for 300 s); "
        "DMTF/Redfish-Protocol-Validator#12 (client blocked after bad log-ins)",
        STOPS,
        _fixed(lockout_after=5, lockout_seconds=300.0),
        cause="credentials",
        enrol="password",
    ),
    Personality(
        "refuses-login-at-first",
        "Refuses the right password now and then.",
        "dsx-ai-factory/infra-controller#69 (HPE: intermittent 401); "
        "DMTF/python-redfish-library#160",
        RECOVERS,
        lambda rng: {"password_wrong": rng.randint(1, 2)},
    ),
    Personality(
        "few-sessions",
        "Only a few Redfish sessions at a time; more are answered 503.",
        "stmcginnis/gofish#75; bb-Ricardo/check_redfish#89 (RAC0218)",
        RECOVERS,
        lambda rng: {"session_limit": rng.randint(2, 4)},
    ),
    Personality(
        "strict-media",
        "Virtual media refuse optional properties and demand the transfer protocol.",
        "ansible-collections/community.general#4839 (Supermicro: Inserted is refused)",
        RECOVERS,
        _fixed(media_strict=ALWAYS),
    ),
    Personality(
        "media-says-inserted",
        "An empty virtual drive still says that something is inserted.",
        "ansible-collections/community.general#7470 (Supermicro: NotConnected, yet Inserted)",
        RECOVERS,
        _fixed(media_says_inserted=ALWAYS),
    ),
    Personality(
        "slow-eject",
        "An insert soon after an eject ends in an internal error.",
        "dell/iDRAC-Redfish-Scripting#60 (SYS446 at InsertMedia)",
        RECOVERS,
        lambda rng: {"eject_seconds": rng.uniform(1, 5)},
    ),
    Personality(
        "settings-stay-pending",
        "BIOS settings that come without an apply time stay pending for ever.",
        "dell/iDRAC-Redfish-Scripting#84; dell/terraform-provider-redfish#231",
        RECOVERS,
        _fixed(bios_needs_apply_time=ALWAYS),
    ),
    Personality(
        "done-before-start",
        "A firmware task is complete although the new version needs one more start.",
        "dell/iDRAC-Redfish-Scripting#266 (job completed, server reboot pending)",
        RECOVERS,
        _fixed(firmware_done_before_start=ALWAYS),
    ),
    Personality(
        "silent-to-new-suites",
        "IPMI: says nothing to an offer of cipher suite 17, puts octets behind its proofs, sends answers twice.",
        "ipmitool/ipmitool#199 (BMCs that ignore what they do not know); ipmitool/ipmitool#363 (suite 17)",
        RECOVERS,
        lambda rng: {
            "ipmi_silent_17": ALWAYS,
            "ipmi_trailing": rng.randint(1, 12),
            "ipmi_repeats": rng.uniform(0.1, 0.5),
        },
    ),
    Personality(
        "supermicro",
        "Falls back to Legacy when the boot device comes without a mode; its UEFI disk has its own number.",
        "openstack story #2008547 (Supermicro wants full boot requests)",
        RECOVERS,
        _fixed(maker="Supermicro"),
    ),
    Personality(
        "wrong-mac",
        "The enrolled port is a NIC that this machine does not have.",
        "metal3-io/baremetal-operator#3193 (no port matches the agent's MACs); "
        "tinkerbell/smee#114 (unknown hardware is not served)",
        STOPS,
        _fixed(),
        cause="agent",
        enrol="mac",
    ),
    Personality(
        "nic-order",
        "Tries its other NIC first and comes to the right one only after its time-outs.",
        "metal-stack/metal-hammer#52 (Supermicro: PXE NICs vary)",
        RECOVERS,
        _fixed(nics_reversed=ALWAYS),
    ),
    Personality(
        "link-late",
        "The first network boot fails because the switch port is not up yet.",
        "ironcore-dev/metal-operator#104 (PXE failed for network or DHCP reasons)",
        RECOVERS,
        _fixed(no_link=1),
    ),
    Personality(
        "reboots-twice",
        "Restarts once more by itself during the first boot.",
        "quadsproject/badfish#40; openshift/release#76226 (scheduled BIOS job eats a boot)",
        RECOVERS,
        lambda rng: {"double_post": rng.randint(1, 3)},
    ),
    Personality(
        "agent-never-calls",
        "The agent boots but can't reach the controller, ever.",
        "metal3-io/metal3-docs#567 (agent has the wrong address); metal3-io/metal3-docs#54",
        STOPS,
        _fixed(agent_mute=ALWAYS),
        cause="agent",
    ),
    Personality(
        "agent-mute-once",
        "The first boot of the agent hangs; the next one works.",
        "metal3-io/baremetal-operator#1187; ironcore-dev/metal-operator#104",
        RECOVERS,
        _fixed(agent_mute=1),
    ),
    Personality(
        "agent-vanishes-in-write",
        "Agent and network disappear in the middle of the first image write.",
        "airshipit/airshipctl#613 (provisioning fails during write_image)",
        RECOVERS,
        _fixed(agent_vanishes=1),
    ),
    Personality(
        "agent-loses-token",
        "The agent restarts in the middle of the write and is given no second token.",
        "metal3-io/ironic-image#174 (agent can not fetch a token)",
        RECOVERS,
        _fixed(agent_restarts=1),
    ),
    Personality(
        "late-heartbeats",
        "Heartbeats come several times later than agreed.",
        "metal3-io/ironic-image#242 (heartbeat time-out must be raised)",
        RECOVERS,
        lambda rng: {"heartbeat_stretch": rng.uniform(2, 4)},
    ),
    Personality(
        "flaky-download",
        "A few downloads arrive damaged or break off; the agent's own retries heal it.",
        "shakenfist/shakenfist#542 (checksum error must lead to a new download)",
        RECOVERS,
        lambda rng: {"corrupt_downloads": rng.randint(1, 3), "failed_downloads": 1},
    ),
    Personality(
        "bad-download",
        "Every download arrives damaged.",
        "osism/k8s-capi-images#325; openshift-metal3/dev-scripts#1066",
        STOPS,
        _fixed(corrupt_downloads=ALWAYS),
        cause="checksum",
    ),
    Personality(
        "disk-write-error",
        "The disk refuses writes with input/output errors.",
        "airshipit/airshipctl#613; openshift-kni/baremetal-deploy#165 (no medium found)",
        STOPS,
        _fixed(disk_write_errors=ALWAYS),
        cause="Writing image to device",
    ),
    Personality(
        "erase-error",
        "Erasing a disk fails in the firmware of the disk.",
        "airshipit/airshipctl#613 (the same disks: input/output error)",
        STOPS,
        _fixed(erase_errors=ALWAYS),
        cause="Error erasing block device",
    ),
    Personality(
        "clock-ahead",
        "The machine's clock runs a year ahead; its certificate is not valid yet.",
        "sonic-net/sonic-mgmt#27926 (clock differs by hours; certificates not yet valid)",
        STOPS,
        _fixed(clock_ahead=365 * 86_400.0),
        cause="certificate",
    ),
)

PERSONALITIES: dict[str, Personality] = {one.name: one for one in _ALL}


def personality(name: str) -> Personality:
    """The personality of that name. Raises KeyError with the known names."""
    if name not in PERSONALITIES:
        raise KeyError(f"no personality {name!r}; known: {', '.join(PERSONALITIES)}")
    return PERSONALITIES[name]


def misbehaving(share: float) -> dict[str, float]:
    """An even mix of all misbehaving personalities that makes up `share` (0..1) of a fleet."""
    names = [name for name in PERSONALITIES if name != "healthy"]
    return {name: share / len(names) for name in names}
