"""dnsmasq's own words: its log lines as events of machines. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PREFIX = re.compile(r"^dnsmasq(?:-dhcp|-tftp)?(?:\[\d+\])?: ")
_MAC = r"(?P<mac>[0-9a-f]{2}(?::[0-9a-f]{2}){5})"
_DHCP = re.compile(
    r"^(?:(?P<xid>\d+) )?(?P<what>DHCP[A-Z]+)\((?P<device>[^)]*)\)"
    rf"(?: (?P<ip>\d+\.\d+\.\d+\.\d+))? {_MAC}(?: (?P<rest>.*))?$"
)
_FILE = re.compile(r"^(?P<xid>\d+) bootfile name: (?P<file>.+)\Z")
_SENT = re.compile(r"^sent (?P<file>.+) to (?P<ip>\S+)\Z")
_ABSENT = re.compile(r"^file (?P<file>.+) not found for (?P<ip>\S+)\Z")
_FAILED = re.compile(r"^failed sending (?P<file>.+) to (?P<ip>\S+)\Z")
_READ = re.compile(r"^read (?P<file>/.+)\Z")
#: Words of dnsmasq that say that it can't do its work.
_FATAL = re.compile(
    r"^(?:dnsmasq: )?(?P<why>(?:failed to|cannot|unknown interface|bad |duplicate ).*)\Z"
)


@dataclass(frozen=True, slots=True)
class Word:
    """What one line says.

    what: "discover", "offer", "request", "ack", "nak", "decline", "release", "inform", "ignored", "no address",
    "boot file" (DHCP); "sent", "not found", "failed" (TFTP); "read", "started", "trouble" (dnsmasq itself).
    ip, mac: of the machine, where the line names it. xid: DHCP's transaction. file: what is read or sent.
    """

    what: str
    text: str
    mac: str | None = None
    ip: str | None = None
    xid: str | None = None
    file: str | None = None


def understand(line: str) -> Word | None:
    """The meaning of a log line; None for lines that matter to nobody."""
    text = _PREFIX.sub("", line.strip(), count=1)
    if found := _DHCP.match(text):
        rest = found["rest"] or ""
        what = found["what"].removeprefix("DHCP").lower()
        if rest == "ignored":
            what = "ignored"
        elif rest.startswith("no address"):
            what = "no address"
        return Word(what, _plain(text), found["mac"], found["ip"], found["xid"])
    if found := _FILE.match(text):
        return Word("boot file", _plain(text), xid=found["xid"], file=found["file"])
    for what, pattern in (("sent", _SENT), ("not found", _ABSENT), ("failed", _FAILED)):
        if found := pattern.match(text):
            file = found["file"].rsplit("/", 1)[-1]
            return Word(what, text.replace(found["file"], file), ip=found["ip"], file=file)
    if found := _READ.match(text):
        return Word("read", text, file=found["file"])
    if text.startswith("started, version"):
        return Word("started", text)
    if found := _FATAL.match(text):
        return Word("trouble", found["why"])
    return None


def _plain(text: str) -> str:
    """Without the transaction's number."""
    return re.sub(r"^\d+ ", "", text)
