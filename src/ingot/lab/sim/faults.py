"""The knobs by which a machine or its BMC misbehaves.

A counter knob says how many times the fault strikes: 0 never, -1 always, n the next n times.
Durations are simulated seconds. Code that can misbehave asks `take`; nothing else changes a
counter, so that what a test reads afterwards is what really struck.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import cast

ALWAYS = -1


@dataclass
class Faults:
    # BMC, all protocols
    reply_delay: tuple[float, float] = (0.0, 0.0)
    """Simulated seconds before each answer."""
    busy_rate: float = 0.0
    """Share of requests answered 503 (Redfish) or C0h node busy (IPMI)."""
    freeze_burst: int = 0
    """This many requests within one *real* second make the BMC fall silent."""
    freeze_seconds: float = 0.0
    bmc_silent: int = 0
    """Requests that get no answer at all."""
    stale_power: float = 0.0
    """Seconds for which the BMC goes on reporting the power state before a change."""
    power_reads_on: int = 0
    """Reads that say On whatever the truth is."""
    power_on_ignored: int = 0
    power_off_ignored: int = 0
    reset_stays_off: int = 0
    boot_override_lost: int = 0
    """Boots that ignore the override and take the disk first, as if none had been set."""
    override_sticks: int = 0
    """Accepted one-time overrides that become permanent."""
    reported_uuid: str = ""
    maker: str = ""
    """The manufacturer that the BMC tells instead of the true one, and whose quirks it has ("Supermicro")."""
    password_wrong: int = 0
    """Log-ins with the right password that are refused all the same."""
    lockout_after: int = 0
    """Failed log-ins in a row after which even the right password is refused for a while."""
    lockout_seconds: float = 300.0
    session_limit: int = 0
    events_lost: int = 0
    """Events that are not sent to subscribers."""
    health: str = "OK"
    """What the BMC says of the machine: OK, Warning or Critical (over IPMI: a fault of a drive)."""
    media_strict: int = 0
    """ALWAYS: InsertMedia refuses Inserted and WriteProtected and demands TransferProtocolType."""
    media_says_inserted: int = 0
    """ALWAYS: an empty drive still says Inserted."""
    eject_seconds: float = 0.0
    """For so long after an eject an insert ends in an internal error."""
    volume_apply_time: str = "OnReset"
    """When volumes are made: Immediate, OnReset, "" (not told), or sync (done with the answer)."""
    tasks_fail: int = 0
    """Tasks that end badly."""
    tasks_vanish: int = 0
    """ALWAYS: tasks that have ended are not there any more."""
    bios_not_applied: int = 0
    """Starts at which ordered BIOS settings are lost."""
    bios_needs_apply_time: int = 0
    """ALWAYS: BIOS settings that come without an apply time stay pending for ever."""
    firmware_done_before_start: int = 0
    """ALWAYS: an update's task is complete although the new version runs only after a start."""
    # BMC, IPMI
    ipmi_silent_17: int = 0
    """Offers of cipher suite 17 that get no answer."""
    ipmi_trailing: int = 0
    """Octets that stand behind the proofs of the key exchange."""
    ipmi_repeats: float = 0.0
    """Share of datagrams that arrive twice, the second a moment later."""
    # firmware
    double_post: int = 0
    """Power-ons after which the firmware restarts the machine once more by itself."""
    nics_reversed: int = 0
    no_link: int = 0
    """Network boots that fail although all is well configured."""
    # agent
    agent_mute: int = 0
    """Agent boots that never call anybody."""
    agent_vanishes: int = 0
    """Image writes in the middle of which agent and network disappear."""
    agent_restarts: int = 0
    """Image writes in the middle of which the agent process restarts and loses its token."""
    heartbeat_stretch: float = 1.0
    corrupt_downloads: int = 0
    failed_downloads: int = 0
    disk_write_errors: int = 0
    write_mb_per_s: float = 0.0
    """How fast images are written; 0: as fast as such disks do."""
    erase_errors: int = 0
    clock_ahead: float = 0.0
    """Seconds by which the machine's clock runs ahead: the agent's certificate is of the future."""

    def take(self, knob: str) -> bool:
        """Whether the counter fault strikes now; counts it down."""
        left = int(getattr(self, knob))
        if left == 0:
            return False
        if left > 0:
            setattr(self, knob, left - 1)
        return True

    def put(self, values: dict[str, object]) -> None:
        """Set knobs by name. Raises KeyError for an unknown one."""
        known = {field.name for field in fields(self)}
        for name, value in values.items():
            if name not in known:
                raise KeyError(name)
            if name == "reply_delay" and isinstance(value, list):
                low, high = cast("list[float]", value)
                value = (low, high)
            setattr(self, name, value)

    def clear(self) -> None:
        self.put({field.name: field.default for field in fields(self)})

    def as_dict(self) -> dict[str, object]:
        """Only the knobs that differ from a healthy machine."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }
