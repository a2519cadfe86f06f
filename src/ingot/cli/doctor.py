"""`ingot doctor`: is this host fit, and if not, what to type.

Written for somebody tired, at night: one line per matter, the worst matters in words that say what does
not work because of them, and one command each that mends them. Looks only; changes nothing.

Three purposes, each with more to ask for: `run` (a cloud), `demo` (`run` plus builds and the virtual
rack), `test` (all). What the chosen purpose lacks is a fault, what only a wider one lacks is a remark.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ingot.cli import hostfacts

Mark = Literal["ok", "note", "fault"]
PURPOSES = ("run", "demo", "test")

_APT = "apt-get install -y --no-install-recommends"
_AIMS = {"run": "to run a cloud", "demo": "for the demonstration", "test": "for all tests"}
_WORDS: dict[Mark, str] = {"ok": "ok", "note": "note", "fault": "FAULT"}


@dataclass(frozen=True)
class Finding:
    """One matter. found: what is; advice: what to type or to know, "" when all is well."""

    matter: str
    mark: Mark
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Package:
    """A Debian package. proof: a program or file that shows it is there, "" to ask dpkg."""

    name: str
    reason: str
    proof: str = ""


# -- packages ------------------------------------------------------------------------------------

#: What no service lists: the programs that drivers and the image service call.
_RUN = (
    Package("ipmitool", "speaks to IPMI BMCs", "ipmitool"),
    Package("qemu-utils", "reads and converts disk images", "qemu-img"),
    Package(
        "grub-efi-amd64-bin",
        "GRUB for UEFI on boot media and networks",
        "/usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi",
    ),
    Package("grub-pc-bin", "GRUB for BIOS on boot media", "/usr/lib/grub/i386-pc/cdboot.img"),
    Package("grub-common", "grub-mkimage puts that one together", "grub-mkimage"),
    Package("iproute2", "network namespaces, bridges and taps", "ip"),
)
_DEMO = (Package("openssh-client", "logs in to the new machine, as proof", "ssh"),)
_TEST = (
    Package("busybox", "is the DHCP client on the test wires", "busybox"),
    Package("curl", "judges HTTP and TFTP from outside", "curl"),
    Package("git", "tells the house checks which files are committed", "git"),
    Package("libfaketime", "lets the clock of a controller jump (ingot lab run clock-jump)"),
    Package("openssh-client", "logs in to built images", "ssh"),
    Package("postgresql", "the second database; the tests start a private server"),
    Package("haproxy", "stands before three controllers in the tests", "haproxy"),
    Package("shellcheck", "reads the shell scripts", "shellcheck"),
)


def packages(purpose: str) -> dict[str, Package]:
    """Debian packages of a purpose by name: each service's own list, and ours for what no service lists."""
    from ingot.agents.dhcp.dnsmasq.checks import required_packages as of_hostd

    found = [Package(name, reason) for name, reason in of_hostd().items()]
    found += _RUN
    if purpose in ("demo", "test"):
        from ingot.builders import required_packages as of_builders
        from ingot.lab import required_packages as of_rack

        found += [Package(p.name, p.reason, p.command) for p in of_builders()]
        found += [Package(p.name, p.reason, p.proof) for p in of_rack()]
        found += _DEMO
    if purpose == "test":
        found += _TEST
    return {package.name: package for package in reversed(found)}


def _is_there(package: Package) -> bool:
    if package.proof.startswith("/") and Path(package.proof).exists():
        return True
    if package.proof and hostfacts.which(package.proof):
        return True
    return hostfacts.dpkg_installed(package.name)


def check_packages(purpose: str) -> Iterator[Finding]:
    """A line for each purpose; those beyond the chosen one are only remarks."""
    told: set[str] = set()
    for wider in PURPOSES:
        wanted = packages(wider)
        missing = sorted(
            name for name, package in wanted.items() if name not in told and not _is_there(package)
        )
        matter = f"packages to {wider}"
        if not missing:
            yield Finding(matter, "ok", f"all {len(wanted)} are there")
            continue
        told.update(missing)
        needed = PURPOSES.index(wider) <= PURPOSES.index(purpose)
        reasons = "; ".join(f"{name} {wanted[name].reason}" for name in missing)
        advice = f"{hostfacts.SUDO}{_APT} {' '.join(missing)}"
        yield Finding(matter, "fault" if needed else "note", f"missing: {reasons}", advice)


# -- the host ------------------------------------------------------------------------------------


def check_python() -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding("python", "ok", f"{version} ({sys.executable})")


def check_rights(purpose: str) -> Iterator[Finding]:
    """DHCP, TFTP and namespaces need root, or the capabilities that make it."""
    lacking = hostfacts.lacking_capabilities()
    if not lacking:
        yield Finding("rights", "ok", "root" if os.geteuid() == 0 else "capabilities are there")
        return
    found = f"user {os.geteuid()} lacks {', '.join(lacking)}"
    if os.geteuid() == 0:
        advice = "This is a container without these capabilities; start it with them."
    elif purpose == "run":
        advice = (
            "Use sudo, or serve without DHCP and on ports above 1023 (provisioning.dhcp = false)."
        )
    else:
        advice = "The virtual rack makes a network namespace: use sudo."
    yield Finding("rights", "note" if purpose == "run" else "fault", found, advice)


def check_kvm() -> Iterator[Finding]:
    """Not whether /dev/kvm is there, but whether firmware boots in it."""
    if hostfacts.which("qemu-system-x86_64") is None:
        yield Finding("virtualisation", "note", "not tried: qemu-system-x86 is not installed")
        return
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        yield Finding("virtualisation", "ok", "no /dev/kvm for us: QEMU emulates (TCG), slower")
        return
    from ingot.lab.rack.accel import probe

    if asyncio.run(probe()) == "kvm":
        yield Finding("virtualisation", "ok", "KVM boots BIOS and UEFI firmware")
    else:
        yield Finding(
            "virtualisation",
            "ok",
            "/dev/kvm opens, but firmware does not boot in it: QEMU emulates (TCG), slower",
            "Nothing to do. The rack finds this out by itself.",
        )


def check_memory(purpose: str) -> Iterator[Finding]:
    """The demonstration's rack has three machines of 3 GB, of which two work at a time."""
    free = hostfacts.available_memory()
    needed = 1 if purpose == "run" else 8
    found = f"{free / 2**30:.1f} GiB available, {needed} wanted; {os.cpu_count()} CPUs"
    if free >= needed << 30:
        yield Finding("memory", "ok", found)
    else:
        advice = "Machines of the rack will be killed when memory ends: end other work first."
        if purpose == "run":
            advice = "Expect slow image work; end other programs."
        yield Finding("memory", "fault" if purpose == "demo" else "note", found, advice)


def check_disk(purpose: str, state: Path) -> Iterator[Finding]:
    """Room where images are stored, and where they are built."""
    from ingot.builders import default_cache

    wanted = {"state": (state, 10)}
    if purpose != "run":
        wanted["cache"] = (default_cache(), 10)
    for name, (folder, gib) in wanted.items():
        place = hostfacts.existing(folder)
        free = shutil.disk_usage(place).free
        found = f"{free / 2**30:.0f} GiB free at {place}, {gib} wanted"
        if free >= gib << 30:
            yield Finding(f"disk for {name}", "ok", found)
        else:
            advice = f"Free some space there, or choose another place ({_PLACES[name]})."
            yield Finding(f"disk for {name}", "fault", found, advice)


_PLACES = {"state": "ingot serve --state DIR", "cache": "--cache DIR or XDG_CACHE_HOME"}


def check_state(state: Path) -> Iterator[Finding]:
    place = hostfacts.existing(state)
    if os.access(place, os.W_OK | os.X_OK):
        text = f"{state} is writable" if place == state else f"{state} can be made in {place}"
        yield Finding("state folder", "ok", text)
    else:
        advice = "Use sudo, or name another folder: ingot serve --state DIR"
        yield Finding("state folder", "fault", f"{place} is not writable for us", advice)


def check_ports(listen: str) -> Iterator[Finding]:
    """The API, the provisioning listener, DHCP and TFTP."""
    host, _, port = listen.rpartition(":")
    matters = (
        ("API", "tcp", host or "127.0.0.1", int(port)),
        ("boot files", "tcp", host or "127.0.0.1", int(port) + 1),
        ("DHCP", "udp", "0.0.0.0", 67),
        ("TFTP", "udp", "0.0.0.0", 69),
    )
    for what, kind, address, number in matters:
        matter = f"port {number}/{kind}"
        busy = hostfacts.port_trouble(kind, address, number)
        if not busy:
            yield Finding(matter, "ok", f"free for {what}")
        elif "denied" in busy:
            yield Finding(matter, "note", f"{what}: needs root to try", "Run the doctor with sudo.")
        elif what == "API" and hostfacts.is_ingot(address, number):
            yield Finding(matter, "ok", "Ingot answers there already")
        elif kind == "tcp":
            who = f"ss -lntp 'sport = :{number}'"
            advice = f"See who: {who}; then end it, or use --listen with another port."
            yield Finding(matter, "fault" if what == "API" else "note", f"{what}: {busy}", advice)
        else:
            advice = (
                f"See who: ss -lunp 'sport = :{number}'. On another interface than the "
                "provisioning network it does no harm; on the same one machines get two answers."
            )
            yield Finding(matter, "note", f"{what}: {busy}", advice)


def check_versions() -> Iterator[Finding]:
    for program, words in (
        ("dnsmasq", ["--version"]),
        ("qemu-system-x86_64", ["--version"]),
        ("ipmitool", ["-V"]),
    ):
        path = hostfacts.which(program)
        if path is None:
            yield Finding(program, "note", "not installed", "See the packages above.")
            continue
        said, works = hostfacts.first_line([path, *words])
        advice = "" if works else f"{path} does not run; install its package again."
        yield Finding(program, "ok" if works else "fault", said, advice)


def check_builds(purpose: str) -> Iterator[Finding]:
    """What `ingot ramdisk build` and `ingot image build debian` left in the cache."""
    from ingot.builders import default_cache

    cache = default_cache()
    for kind, name, command in (
        ("ramdisk", "agent ramdisk", "ingot ramdisk build"),
        ("image", "instance image", "ingot image build debian"),
    ):
        newest = hostfacts.newest_manifest(cache / kind)
        if newest:
            yield Finding(name, "ok", f"built {newest[1]}, in {newest[0]}")
        elif purpose == "run":
            advice = f"{hostfacts.SUDO}{command}   (a minute or two; skip it if you bring your own)"
            yield Finding(name, "note", f"not in {cache}", advice)
        else:
            yield Finding(name, "ok", f"not in {cache} yet; will be built when needed")


def check_clock() -> Iterator[Finding]:
    """Tokens and certificates carry times; agents refuse what is not valid yet."""
    trouble, synchronised = hostfacts.clock_trouble()
    if trouble:
        yield Finding("clock", "fault", trouble, "Set it: date -u -s 'YYYY-MM-DD HH:MM'")
    elif synchronised:
        yield Finding("clock", "ok", "synchronised")
    else:
        advice = f"{hostfacts.SUDO}{_APT} systemd-timesyncd   (or chrony)"
        yield Finding("clock", "note", "plausible, but the kernel says not synchronised", advice)


# -- the command ---------------------------------------------------------------------------------


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `ingot doctor`."""
    parser.description = "Looks whether this host is fit, and says what to do. Changes nothing."
    parser.epilog = "exit code: 0 fit, 1 something must be mended first"
    parser.add_argument(
        "--for",
        dest="purpose",
        choices=PURPOSES,
        default="run",
        help="what the host shall do: run a cloud (default), the demonstration, or all tests",
    )
    parser.add_argument(
        "--packages",
        choices=PURPOSES,
        metavar="PURPOSE",
        help="only print the Debian packages of run, demo or test",
    )
    parser.add_argument(
        "--state",
        type=Path,
        default=Path("var"),
        metavar="DIR",
        help="the cloud's state folder (default: var)",
    )
    parser.add_argument(
        "--listen",
        default="127.0.0.1:6385",
        metavar="ADDRESS:PORT",
        help="where its API shall answer (default: 127.0.0.1:6385)",
    )
    parser.add_argument("-f", "--format", choices=("text", "json"), default="text")
    parser.add_argument(
        "--json", action="store_const", const="json", dest="format", help=argparse.SUPPRESS
    )


def examine(purpose: str, state: Path, listen: str) -> list[Finding]:
    """All checks in the order of the report; one that breaks is itself a finding."""
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("python", check_python),
        ("packages", lambda: check_packages(purpose)),
        ("rights", lambda: check_rights(purpose)),
        ("virtualisation", check_kvm),
        ("memory", lambda: check_memory(purpose)),
        ("disk", lambda: check_disk(purpose, state)),
        ("state folder", lambda: check_state(state)),
        ("ports", lambda: check_ports(listen)),
        ("programs", check_versions),
        ("builds", lambda: check_builds(purpose)),
        ("clock", check_clock),
    ]
    findings: list[Finding] = []
    for matter, check in checks:
        try:
            findings += check()
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            findings.append(Finding(matter, "note", f"could not be checked: {error}"))
    return findings


def run(args: argparse.Namespace) -> int:
    """`ingot doctor`: the report; 0 when the host is fit for the purpose."""
    if args.packages:
        print("\n".join(sorted(packages(args.packages))))
        return 0
    if not args.listen.rpartition(":")[2].isdecimal():
        print(f"ingot doctor: {args.listen!r} is not address:port", file=sys.stderr)
        return 2
    findings = examine(args.purpose, args.state.absolute(), args.listen)
    faults = [finding for finding in findings if finding.mark == "fault"]
    if args.format == "json":
        document: dict[str, Any] = {"purpose": args.purpose, "fit": not faults}
        print(json.dumps({**document, "findings": [asdict(found) for found in findings]}, indent=2))
    else:
        _report(args.purpose, findings, faults)
    return 1 if faults else 0


def _report(purpose: str, findings: list[Finding], faults: list[Finding]) -> None:
    width = max(len(finding.matter) for finding in findings)
    for finding in findings:
        print(f"{_WORDS[finding.mark]:5}  {finding.matter:{width}}  {finding.found}")
        if finding.advice:
            print(f"{'':5}  {'':{width}}  -> {finding.advice}")
    print()
    if not faults:
        print(f"This host is fit {_AIMS[purpose]}.")
        return
    print(f"Not fit {_AIMS[purpose]} yet. Mend these first:")
    for fault in faults:
        print(f"  {fault.matter}: {fault.advice or fault.found}")
