"""What the building machine must have, and running its tools.

Every tool runs with an argument list, a deadline and a log file; when it fails
the fault quotes the tool's last words and names the log.
"""

import os
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from ingot.builders.types import BuildFault, HostPackage, Progress

_PACKAGES = (
    HostPackage("mmdebstrap", "mmdebstrap", "installs Debian packages into a new tree"),
    HostPackage("cpio", "cpio", "packs the agent ramdisk"),
    HostPackage("squashfs-tools", "mksquashfs", "compresses the agent ramdisk's tree"),
    HostPackage("e2fsprogs", "mke2fs", "makes the image's root file system without mounting it"),
    HostPackage("dosfstools", "mkfs.vfat", "makes the image's EFI system partition"),
    HostPackage("mtools", "mcopy", "fills the EFI system partition without mounting it"),
    HostPackage("fdisk", "sfdisk", "writes the image's partition table"),
    HostPackage("qemu-utils", "qemu-img", "converts the image to qcow2"),
)
_ROOTLESS = HostPackage("uidmap", "newuidmap", "lets mmdebstrap work without root")

# Not every user's PATH has the administrator's commands.
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))


def required_packages() -> list[HostPackage]:
    """Debian packages that the builds need on this machine, with the reason of each."""
    if os.geteuid() == 0:
        return list(_PACKAGES)
    return [*_PACKAGES, _ROOTLESS]


def missing_packages() -> list[HostPackage]:
    """Those of `required_packages` whose command is not there."""
    return [p for p in required_packages() if shutil.which(p.command, path=_PATH) is None]


def check_host() -> None:
    """Raises BuildFault with the apt-get line when something is missing."""
    missing = missing_packages()
    if not missing:
        return
    names = " ".join(p.name for p in missing)
    reasons = "; ".join(f"{p.name} {p.reason}" for p in missing)
    raise BuildFault(
        "check this machine",
        f"Debian packages are missing: {reasons}",
        f"Install them: sudo apt-get install --no-install-recommends {names}",
    )


def run(
    step: str,
    command: Sequence[str],
    *,
    log: Path,
    deadline: float,
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
    progress: Progress | None = None,
) -> None:
    """Runs `command` to its end; raises BuildFault when it fails or is late.

    `deadline` is in seconds. Output goes to the end of `log`. Lines of the form
    `I: …` (mmdebstrap) and `step: …` (our hooks) are also given to `progress`.
    """
    env = {**os.environ, "PATH": _PATH, "LC_ALL": "C.UTF-8", **(environment or {})}
    last: deque[str] = deque(maxlen=8)
    with log.open("a", encoding="utf-8") as record:
        record.write(f"$ {' '.join(command)}\n")
        record.flush()
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=env,
                start_new_session=True,
            )
        except OSError as error:
            raise BuildFault(step, f"{command[0]}: {error}", "See `ingot doctor`.") from error
        late = threading.Event()
        timer = threading.Timer(deadline, _stop, (process, late))
        timer.start()
        try:
            _feed(process, stdin)
            assert process.stdout is not None
            for line in process.stdout:
                record.write(line)
                last.append(line.rstrip())
                if progress and line.startswith(("I: ", "step: ")):
                    progress(line.split(": ", 1)[1].strip())
            code = process.wait()
        except BaseException:
            _stop(process, late)
            process.wait()
            raise
        finally:
            timer.cancel()
    if late.is_set():
        cause = f"{command[0]} did not end within {deadline:.0f} s"
    elif code != 0:
        cause = f"{command[0]} ended with {code}: " + " | ".join(last)
    else:
        return
    raise BuildFault(step, cause, f"The whole output is in {log}; run the command again after.")


def _feed(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(text)
        process.stdin.close()
    except BrokenPipeError:
        pass  # It ended without reading; its exit code tells why.


def _stop(process: subprocess.Popen[str], late: threading.Event) -> None:
    late.set()
    try:
        # SIGTERM first: mmdebstrap then unmounts and removes its tree.
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
