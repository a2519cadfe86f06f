"""dnsmasq's lines, as dnsmasq 2.90 writes them."""

from __future__ import annotations

import pytest

from ingot.agents.dhcp.dnsmasq.words import Word, understand

MAC = "52:54:00:00:00:01"


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (
            f"dnsmasq-dhcp: 1043 DHCPDISCOVER(srv0) {MAC} ",
            Word("discover", f"DHCPDISCOVER(srv0) {MAC}", MAC, None, "1043"),
        ),
        (
            f"dnsmasq-dhcp: 1043 DHCPDISCOVER(srv0) {MAC} ignored",
            Word("ignored", f"DHCPDISCOVER(srv0) {MAC} ignored", MAC, None, "1043"),
        ),
        (
            f"dnsmasq-dhcp: DHCPDISCOVER(srv0) {MAC} no address available",
            Word("no address", f"DHCPDISCOVER(srv0) {MAC} no address available", MAC),
        ),
        (
            f"dnsmasq-dhcp: 7 DHCPACK(srv0) 192.0.2.11 {MAC} host",
            Word("ack", f"DHCPACK(srv0) 192.0.2.11 {MAC} host", MAC, "192.0.2.11", "7"),
        ),
        (
            f"dnsmasq-dhcp: 7 DHCPNAK(srv0) 192.0.2.11 {MAC} wrong address",
            Word("nak", f"DHCPNAK(srv0) 192.0.2.11 {MAC} wrong address", MAC, "192.0.2.11", "7"),
        ),
        (
            "dnsmasq-dhcp: 7 bootfile name: undionly.kpxe",
            Word("boot file", "bootfile name: undionly.kpxe", xid="7", file="undionly.kpxe"),
        ),
        (
            "dnsmasq-tftp: sent /state/dhcp/w/tftp/snponly.efi to 192.0.2.11",
            Word("sent", "sent snponly.efi to 192.0.2.11", ip="192.0.2.11", file="snponly.efi"),
        ),
        (
            "dnsmasq-tftp: file /state/x.efi not found for 192.0.2.11",
            Word("not found", "file x.efi not found for 192.0.2.11", ip="192.0.2.11", file="x.efi"),
        ),
        (
            "dnsmasq: failed to bind DHCP server socket: Address already in use",
            Word("trouble", "failed to bind DHCP server socket: Address already in use"),
        ),
        ("dnsmasq-dhcp: read /s/hosts/a", Word("read", "read /s/hosts/a", file="/s/hosts/a")),
        (
            "dnsmasq: started, version 2.90 DNS disabled",
            Word("started", "started, version 2.90 DNS disabled"),
        ),
        ("dnsmasq-dhcp: 7 next server: 192.0.2.1", None),
        ("", None),
    ],
)
def test_lines(line: str, word: Word | None) -> None:
    assert understand(line) == word
