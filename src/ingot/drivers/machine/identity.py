"""Is it the same machine? Compare what a controller says with what the agent saw from inside.

Before anything destructive a workflow compares the two. UUIDs are compared tolerant of byte order:
SMBIOS stores the first three fields little-endian, IPMI sends the whole GUID reversed or not, and
vendors mix them up, so the same machine may show up to four spellings of one number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ingot.drivers.machine.types import Identity

# Values that vendors ship when nobody filled the field in; they prove nothing.
EMPTY_TEXTS = frozenset(
    {
        "",
        "0",
        "0123456789",
        "123456789",
        "none",
        "n/a",
        "na",
        "null",
        "unknown",
        "not specified",
        "not available",
        "to be filled by o.e.m.",
        "default string",
        "system serial number",
        "chassis serial number",
    }
)
EMPTY_UUIDS = frozenset(
    {
        "00000000000000000000000000000000",
        "ffffffffffffffffffffffffffffffff",
        "03000200040005000006000700080009",
        "00020003000400050006000700080009",
    }
)


@dataclass(frozen=True)
class Comparison:
    """verdict: "same", "different" or "unknown" (nothing comparable on both sides).

    evidence: one sentence per compared field, to be recorded as the proof.
    """

    verdict: str
    evidence: tuple[str, ...]


def compare(controller: Identity, host: Identity) -> Comparison:
    """Judge whether both describe one machine.

    A UUID that differs is decisive; equal UUIDs are the same machine unless serials contradict.
    Serials are compared next, then MACs (one in common is enough, none in common is a
    contradiction only when nothing else spoke, as controllers often list only some NICs).
    """
    votes: list[bool] = []
    evidence: list[str] = []
    if _is_stated_uuid(controller.uuid) and _is_stated_uuid(host.uuid):
        votes.append(same_uuid(controller.uuid, host.uuid))
        evidence.append(_say("uuid", controller.uuid, host.uuid, votes[-1]))
    if _is_stated(controller.serial) and _is_stated(host.serial):
        votes.append(_plain(controller.serial) == _plain(host.serial))
        evidence.append(_say("serial", controller.serial, host.serial, votes[-1]))
    macs = set(map(str.lower, controller.macs)), set(map(str.lower, host.macs))
    if all(macs):
        common = macs[0] & macs[1]
        if common:
            votes.append(True)
            evidence.append("mac in common: " + ", ".join(sorted(common)))
        elif not votes:
            votes.append(False)
            evidence.append(
                f"no mac in common: {', '.join(sorted(macs[0]))} and {', '.join(sorted(macs[1]))}"
            )
    if not votes:
        return Comparison("unknown", ("nothing that both sides tell",))
    return Comparison("same" if all(votes) else "different", tuple(evidence))


def same_uuid(one: str, other: str) -> bool:
    """Equal in any of the usual byte orders."""
    return _hex(other) in uuid_spellings(one)


def uuid_spellings(uuid: str) -> frozenset[str]:
    """The 32 hex digits of `uuid` as written, SMBIOS-swapped, reversed, and both."""
    text = _hex(uuid)
    if len(text) != 32:
        return frozenset({text})
    raw = bytes.fromhex(text)
    return frozenset(
        b.hex() for b in (raw, _swap(raw), raw[::-1], _swap(raw)[::-1], _swap(raw[::-1]))
    )


def canonical_uuid(text: str) -> str:
    """Lower case with dashes; "" when it is not a UUID or one of the known fillers."""
    digits = _hex(text)
    if len(digits) != 32 or digits in EMPTY_UUIDS:
        return ""
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _swap(raw: bytes) -> bytes:
    return raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]


def _hex(text: str) -> str:
    return re.sub(r"[^0-9a-f]", "", text.lower())


def _plain(text: str) -> str:
    return text.strip().lower()


def _is_stated(text: str) -> bool:
    plain = _plain(text)
    return plain not in EMPTY_TEXTS and bool(plain.strip("0 .-x"))


def _is_stated_uuid(text: str) -> bool:
    return bool(canonical_uuid(text))


def _say(what: str, one: str, other: str, same: bool) -> str:
    if same:
        return f"{what} agrees: {one}"
    return f"{what} differs: controller says {one}, host says {other}"
