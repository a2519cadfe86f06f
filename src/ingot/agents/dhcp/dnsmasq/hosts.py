"""The files of one wire's hosts, and what dnsmasq remembers of those that went.

dnsmasq reads a new file of its folder within milliseconds, but forgets a host only when it reads all of them again,
a second of work for nine thousand. So a machine that goes gets a *tombstone*, a file that says to ignore its MAC: of
two entries for one MAC the one that was read last counts. dnsmasq names a file before it opens it, so an empty one
follows: when that is named, the tombstones before it are known, and are removed. What is left needs the signal: an
address that is given again, since dnsmasq takes no second entry with an address that it remembers, and a machine
that moves to another subnet, which would be answered on both.

A MAC never has a host's file and a tombstone in the folder at once. So in whatever order files are read, and
however often, the last one read is the one that is true.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ingot.agents.dhcp.dnsmasq.config import host_file, is_plain, tombstone_file
from ingot.agents.dhcp.plans import DhcpHost
from ingot.kit import log

_log = log.get("dnsmasq")


@dataclass(slots=True)
class HostsChange:
    """What became of the folder.

    new: paths that dnsmasq reads by itself. refused: paths of hosts whose address it still remembers, taken at the
    next reading of all. removed: paths that are no more. moved: a machine has another address now, and dnsmasq
    still remembers the one before. gone: hosts that went. tombstones: theirs, MAC -> path. last: the empty file that
    follows them.
    """

    new: list[str] = field(default_factory=list[str])
    refused: list[str] = field(default_factory=list[str])
    removed: list[str] = field(default_factory=list[str])
    moved: bool = False
    gone: list[DhcpHost] = field(default_factory=list[DhcpHost])
    tombstones: dict[str, str] = field(default_factory=dict[str, str])
    last: str | None = None


class HostFiles:
    """The folder that dnsmasq watches. folder: its own, made when missing; leftovers of an earlier life go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[DhcpHost, str] = {}
        self._by_mac: dict[str, set[DhcpHost]] = {}
        self._by_ip: dict[str, str] = {}
        self._remembered: set[str] = set()
        self._refused: set[str] = set()
        self._tombstones: dict[str, str] = {}
        self._number = itertools.count(1)
        self._begun = False
        self._dead = 0

    def __len__(self) -> int:
        return len(self._files)

    @property
    def dead(self) -> int:
        """Entries that dnsmasq keeps in vain since it last read all."""
        return self._dead

    def mac_of(self, ip: str) -> str | None:
        return self._by_ip.get(ip)

    def become(self, hosts: Iterable[DhcpHost]) -> HostsChange:
        """Hold exactly these hosts."""
        if not self._begun:
            self._begun = True
            self.folder.mkdir(parents=True, exist_ok=True)
            for leftover in self.folder.iterdir():
                leftover.unlink()
        wanted = set(hosts)
        return self.change(wanted, [host for host in self._files if host not in wanted])

    def change(self, put: Iterable[DhcpHost], gone: Iterable[DhcpHost]) -> HostsChange:
        """Take hosts away, then add others; what is there already, or is not, stays as it is."""
        made = HostsChange()
        for host in gone:
            if host in self._files:
                made.removed.append(self._take(host))
                made.gone.append(host)
        for host in put:
            if not is_plain(host):
                _log.warning("a host is left out: no address or MAC", mac=host.mac, ip=host.ip)
            elif host not in self._files:
                remembered = host.ip in self._remembered
                (made.refused if remembered else made.new).append(self._put(host))
        self._refused.update(made.refused)
        for mac in {host.mac for host in made.gone}:
            if mac in self._by_mac:
                made.moved = True
            else:
                made.tombstones[mac] = self._mark_removed(mac)
        if made.tombstones:
            path = self.folder / f"last{next(self._number)}"
            replace_file(path, "")
            made.last = str(path)
            made.new += [*made.tombstones.values(), made.last]
        return made

    def was_read(self, change: HostsChange) -> None:
        """A change is in force: its tombstones have done their work."""
        for mac, path in change.tombstones.items():
            if self._tombstones.get(mac) == path:
                del self._tombstones[mac]
                Path(path).unlink(missing_ok=True)
        if change.last is not None:
            Path(change.last).unlink(missing_ok=True)

    def forget(self) -> set[str]:
        """dnsmasq is about to read all files and nothing else; the paths that it has refused until now."""
        refused, self._refused = self._refused, set()
        self._remembered.clear()
        self._dead = 0
        return refused

    def _put(self, host: DhcpHost) -> str:
        if (tombstone := self._tombstones.pop(host.mac, None)) is not None:
            Path(tombstone).unlink(missing_ok=True)
        name, content = host_file(host)
        path = self.folder / name
        replace_file(path, content)
        self._files[host] = str(path)
        self._by_mac.setdefault(host.mac, set()).add(host)
        self._by_ip[host.ip] = host.mac
        return str(path)

    def _take(self, host: DhcpHost) -> str:
        path = self._files.pop(host)
        Path(path).unlink(missing_ok=True)
        self._refused.discard(path)
        self._remembered.add(host.ip)
        self._dead += 2
        beside = self._by_mac[host.mac]
        beside.discard(host)
        if not beside:
            del self._by_mac[host.mac]
        if self._by_ip.get(host.ip) == host.mac:
            del self._by_ip[host.ip]
        return path

    def _mark_removed(self, mac: str) -> str:
        """A name is used once: what is read under it is this tombstone and no earlier one."""
        if mac not in self._tombstones:
            name, content = tombstone_file(mac, next(self._number))
            path = self.folder / name
            replace_file(path, content)
            self._tombstones[mac] = str(path)
        return self._tombstones[mac]


def replace_file(path: Path, content: str) -> None:
    """Write a file at once or not at all; the temporary name is one that dnsmasq does not read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(content)
    os.replace(temporary, path)
