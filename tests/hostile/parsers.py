"""What reads octets and documents of machines and tenants, under generated input: `python -m tests.hostile.parsers`.

Each target takes a seed and either is content or raises the one fault that it may raise; anything else is a finding.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import copy
import gzip
import random
import struct
import sys
import traceback
from collections.abc import Callable
from typing import Any

from ingot.drivers.machine.ipmi import fru
from ingot.kit.faults import Fault
from ingot.kit.http.egress import Egress
from ingot.services.baremetal.boot import configdrive
from ingot.services.baremetal.boot.imagesources import _from_file
from ingot.services.baremetal.inspection.facts import (
    InspectionBounds,
    InspectionOptions,
    finish,
    parted,
)
from ingot.services.baremetal.inspection.hooks import HOOKS, lldp
from tests.baremetal.drafts import data, draft_of

_ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**63, 1e308, float("nan"), "", "x", "\n", "\x1b[2J", "é" * 300),
    *([], {}, [None], [[]], {"a": 1}, "52:54:00:00:00:01", "127.0.0.1", "::1%eth0", "1" * 400),
)
_HOOKS = tuple(InspectionOptions().hooks) + tuple(
    name for name in HOOKS if name not in InspectionOptions().hooks
)
_DRIVE = gzip.compress(bytes(3000) + b"CD001" * 40)
_PIECES = (
    *("http", "https", "file", "://", "[", "]", ":", "@", "/", "%25", "?", "#", "\\", "::1", "1"),
    *("127.0.0.1", "x", ".", " ", "\n", "\0", "é", "xn--", "\ud800", "65536", "0x7f", "user:pw@"),
)
_WORDS = ("a" * 64, "A" * 128, "0" * 96, "disk.raw", "*disk.raw", "(disk.raw)", "=", "SHA256", "#")


def inspection(rng: random.Random) -> None:
    """All hooks over a message of which some places are odd."""
    sent = copy.deepcopy(_MESSAGE)
    for _ in range(rng.randint(1, 4)):
        _spoil(sent, rng)
    _, inventory, plugin = parted(sent, InspectionBounds())
    draft = draft_of({"inventory": inventory, **plugin})
    names = rng.sample(_HOOKS, rng.randint(1, len(_HOOKS)))
    finish(draft, InspectionOptions(), ("validate-interfaces", *names), ())


def _spoil(value: Any, rng: random.Random) -> None:
    while True:
        places: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not places:
            return
        place = rng.choice(places)
        inside = value[place]
        if not isinstance(inside, dict | list) or rng.random() < 0.3:
            value[place] = copy.deepcopy(rng.choice(_ODD))
            return
        value = inside


_MESSAGE = data(
    lldp_raw={"eno1": [[1, "0452540000000a"], [2, "0531"], [5, "6e616d65"], [127, "0080c2010001"]]},
    pci_devices=[{"vendor_id": "10de", "product_id": "1eb8", "bus": "0"}],
    root_disk={"name": "sdb", "size": 1 << 40},
    boot_interface="52:54:00:00:00:01",
)
_MESSAGE["data"] = [["cpu", "physical", "number", 2], ["disk", "sda", "size", "100"]]


def drive(rng: random.Random) -> None:
    octets = bytearray(_DRIVE)
    for _ in range(rng.randint(0, 4)):
        octets[rng.randrange(len(octets))] = rng.randrange(256)
    cut = bytes(octets[: rng.randint(0, len(octets))]) if rng.random() < 0.3 else bytes(octets)
    text = bytearray(base64.b64encode(cut * rng.randint(1, 3)))
    if text and rng.random() < 0.2:
        text[rng.randrange(len(text))] = rng.randrange(256)
    configdrive.unpack(bytes(text))


def callback(rng: random.Random) -> None:
    head = rng.choice(
        ("", "https://", "https://10.0.0.7", "https://10.0.0.7:9999/", "http://[fd00::7]")
    )
    Egress().url(head + "".join(rng.choices(_PIECES, k=rng.randint(0, 9))), "It")


def checksums(rng: random.Random) -> None:
    lines = [
        rng.choice((" ", "  ", "\t", "")).join(rng.choices(_WORDS, k=rng.randint(0, 4)))
        for _ in range(rng.randint(0, 5))
    ]
    text = rng.choice(("\n", "\r\n", "\x0b", "\u2028")).join(lines)
    _from_file(text, "http://x/disk.raw", "http://x/sums")


def switches(rng: random.Random) -> None:
    kinds = (*range(9), 127, rng.randrange(-5, 300))
    heads = (b"", b"\x00\x80\xc2", b"\x00\x12\x0f")
    units = [
        (rng.choice(kinds), rng.choice(heads) + rng.randbytes(rng.choice((0, 1, 2, 5, 9, 40))))
        for _ in range(rng.randint(0, 6))
    ]
    lldp.link_of(units)


def board(rng: random.Random) -> None:
    """A controller's inventory; its answers may be of any length."""
    memory = bytearray(rng.randbytes(rng.choice((8, 64, 512))))
    memory[:8] = bytes((1, 0, *(rng.choice((0, 1, 2, 5, 200)) for _ in range(3)), 0, 0, 0))
    memory[7] = -sum(memory[:7]) & 0xFF if rng.random() < 0.9 else 7
    size = rng.choice((len(memory), 0, 65535, 3))

    async def ask(_family: int, command: int, told: bytes) -> bytes:
        if command == fru.INFO:
            return struct.pack("<HB", size, rng.randrange(2))[: rng.choice((3, 3, 3, 2, 0))]
        _, at, count = struct.unpack("<BHB", told)
        part = bytes(memory[at : at + count])
        return bytes([min(255, len(part) + rng.choice((0, 0, 0, 3)))]) + part

    with contextlib.suppress(StopIteration):
        fru.read(ask).send(None)


TARGETS: dict[str, Callable[[random.Random], None]] = {
    "inspection": inspection,
    "config drives": drive,
    "callback URLs": callback,
    "checksum files": checksums,
    "LLDP": switches,
    "FRU": board,
}


def run(name: str, count: int, seed: int) -> tuple[int, list[str]]:
    """How many inputs were refused by a fault, and what else was raised."""
    target, refused, found = TARGETS[name], 0, list[str]()
    for number in range(count):
        try:
            target(random.Random(seed * 2**32 + number))
        except Fault:
            refused += 1
        except Exception:
            found.append(f"{name} {seed * 2**32 + number}: {traceback.format_exc(limit=-4)}")
    return refused, found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    bad = 0
    for name in TARGETS:
        refused, found = run(name, args.count, args.seed)
        print(
            f"{name}: {args.count} inputs, {refused} refused, {len(found)} unexpected", flush=True
        )
        for text in found[:5]:
            print(text)
        bad += len(found)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
