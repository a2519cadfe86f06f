"""Debian trees by mmdebstrap: what is common to the ramdisk and the image.

The tree never leaves mmdebstrap: our hooks, which run where its files have their
true owners, turn it into files in an output folder. So the same recipe works as
root and, with `uidmap` installed, without.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ingot.builders.host import run
from ingot.builders.types import BuildFault, Progress

MIRROR = "http://deb.debian.org/debian"
SECURITY_MIRROR = "http://deb.debian.org/debian-security"
_SUITE = "bookworm"


def read_list(path: Path) -> list[str]:
    """First words of a recipe's list; blank lines and `#` comments left out."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]


def bootstrap(
    packages: Sequence[str],
    *,
    variant: str,
    hooks: Mapping[str, Path],
    environment: Mapping[str, str],
    mirror: str,
    log: Path,
    progress: Progress,
) -> None:
    """Installs `packages` into a new tree and runs `hooks` (`essential`, `customize`) on it."""
    command = [
        "mmdebstrap",
        "--mode=root" if os.geteuid() == 0 else "--mode=unshare",
        f"--variant={variant}",
        "--format=null",
        '--aptopt=APT::Install-Recommends "false"',
        "--dpkgopt=force-confold",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        f"--include={','.join(packages)}",
        *(f'--{stage}-hook={path} "$1"' for stage, path in hooks.items()),
        _SUITE,
        "/dev/null",
        *_sources(packages, mirror),
    ]
    with tempfile.TemporaryDirectory(prefix="ingot-build-") as scratch:
        os.chmod(scratch, 0o1777)
        run(
            "install Debian packages",
            command,
            log=log,
            deadline=3600,
            environment={"TMPDIR": scratch, "DEBIAN_FRONTEND": "noninteractive", **environment},
            progress=progress,
        )


def _sources(packages: Sequence[str], mirror: str) -> list[str]:
    if not mirror.startswith(("http://", "https://", "file:/", "copy:/")):
        raise BuildFault(
            "read the options", f"{mirror!r} is no mirror URL", f"Use e.g. --mirror {MIRROR}"
        )
    firmware = any(name.startswith("firmware-") for name in packages)
    parts = "main non-free-firmware" if firmware else "main"
    security = SECURITY_MIRROR if mirror == MIRROR else f"{mirror.rstrip('/')}-security"
    return [
        f"deb {mirror} {_SUITE} {parts}",
        f"deb {mirror} {_SUITE}-updates {parts}",
        f"deb {security} {_SUITE}-security {parts}",
    ]
