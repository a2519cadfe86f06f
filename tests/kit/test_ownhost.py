"""This host's own addresses, in a network namespace whose addresses we choose: nobody is asked there for others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ingot.kit.http.egress import Egress
from tests.site.server import clean_environment

_ADDRESSES = """
ip link set lo up
ip link add wire type bridge && ip link set wire up
ip addr add 192.0.2.1/24 dev wire
ip addr add 192.0.2.2/24 dev wire
ip addr add fd00:1::1/64 dev wire nodad
ip route add local 198.51.100.0/24 dev lo
exec "$0" -c "$1"
"""
_ASK = """
import socket
from ingot.kit.http.egress import Egress, is_refusal
from ingot.kit.faults import Invalid
{before}
for address in {addresses}:
    print(address, Egress().permits(address), Egress.of([], own=True).permits(address))
for url in ("http://192.0.2.2:6385/", "http://[fd00:1::1]/"):
    try:
        Egress().url(url, "It")
    except Invalid as fault:
        print(fault.sentence())
print(Egress.of(["192.0.2.1/32"]).permits("192.0.2.1"))
"""
OWN = ("192.0.2.1", "192.0.2.2", "192.0.2.255", "198.51.100.7", "fd00:1::1")
OWN_CARRIED = ("::ffff:192.0.2.2", "64:ff9b::c000:201", "2002:c000:201::1")
OTHERS = ("192.0.2.3", "203.0.113.1", "fd00:1::2", "2001:db8::1")


def _told(before: str = "") -> list[str]:
    rights = ["-n"] if os.geteuid() == 0 else ["-Urn"]
    ask = _ASK.format(before=before, addresses=(*OWN, *OWN_CARRIED, *OTHERS))
    done = subprocess.run(
        ["unshare", *rights, "sh", "-ec", _ADDRESSES, sys.executable, ask],
        env=clean_environment(PYTHONPATH=str(Path(__file__).parents[2] / "src")),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_own_addresses_are_refused() -> None:
    told = _told()
    assert [f"{address} False True" for address in (*OWN, *OWN_CARRIED)] == told[:8]
    assert [f"{address} True True" for address in OTHERS] == told[8:12]
    assert [line for line in told if line.startswith("It leads to")] == [
        f"It leads to {address}, which is not asked for others. "
        "If it is meant to be asked, name it in [egress] allow."
        for address in ("192.0.2.2", "fd00:1::1")
    ]
    assert told[-1] == "True"


def test_own_addresses_without_rtnetlink() -> None:
    """A sandbox that has no netlink: what a datagram would be sent from tells most of it."""
    told = _told("socket.NETLINK_ROUTE = 99")
    assert "192.0.2.1 False True" in told and "fd00:1::1 False True" in told
    assert "192.0.2.3 True True" in told and "fd00:1::2 True True" in told


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_loopback_is_not_opened_by_own(address: str) -> None:
    assert not Egress.of([], own=True).permits(address)
