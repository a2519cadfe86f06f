"""tools/packages.txt, from which `make` installs, says what the code itself asks for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ingot.agents.dhcp.dnsmasq import required_packages as of_hostd
from ingot.builders import required_packages as of_builders
from ingot.cli import doctor
from ingot.lab import required_packages as of_rack

LIST = Path(__file__).parents[2] / "tools" / "packages.txt"
PURPOSES = {"setup", "run", "build", "rack", "demo", "test"}


def rows() -> list[tuple[set[str], str, str]]:
    found: list[tuple[set[str], str, str]] = []
    for line in LIST.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            purposes, package, reason = line.split(maxsplit=2)
            found.append((set(purposes.split(",")), package, reason))
    return found


def listed(*purposes: str) -> set[str]:
    return {package for of, package, _ in rows() if of & set(purposes)}


def names(packages: Iterable[object]) -> set[str]:
    return {getattr(package, "name", str(package)) for package in packages}


def test_every_row_has_a_known_purpose_and_a_reason() -> None:
    for purposes, package, reason in rows():
        assert purposes <= PURPOSES, package
        assert reason.strip(), package


def test_the_builders_agree() -> None:
    # Whoever is not root needs one package more; the list has it for everybody.
    assert listed("build") == names(of_builders()) | {"uidmap"}


def test_the_rack_agrees() -> None:
    assert listed("rack") == names(of_rack())


def test_the_host_daemons_agree() -> None:
    assert set(of_hostd()) <= listed("run")


def test_the_doctor_agrees() -> None:
    extra = {"uidmap"}  # by root or not, as above
    assert listed("run") == set(doctor.packages("run"))
    demo = listed("run", "build", "rack", "demo")
    assert demo - extra == set(doctor.packages("demo")) - extra
    assert demo | listed("test") == set(doctor.packages("test")) | extra


def test_no_package_that_starts_a_daemon_but_the_database() -> None:
    daemons = {"dnsmasq", "tftpd-hpa", "isc-dhcp-server", "libvirt-daemon-system", "nginx", "tgt"}
    assert not daemons & {package for _, package, _ in rows()}
