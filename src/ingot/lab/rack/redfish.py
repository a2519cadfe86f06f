"""The Redfish BMC: sushy-tools' emulator in front of the rack's libvirt.

One emulator process per BMC, each at an address of its own and allowed to see one domain. It and
its libraries live in a cached environment, never among the project's dependencies. What
sushy-tools 2.2.0 lacks: the system's SerialNumber, and boot overrides for one boot only ("Once" is
kept like "Continuous", and reported so). Virtual drives work: the emulator fetches the image from
inside the rack's namespace.
"""

import fcntl
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from ingot.kit.installers import SYSTEM_PYTHON, find_pip, find_uv
from ingot.lab.rack.qemu import OVMF_CODE, OVMF_VARS
from ingot.lab.rack.types import BmcSpec, RackError

VERSION = "2.2.0"
_INSTALL = 300


def cache_directory() -> Path:
    """Where things are kept that every rack of this user may share."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "ingot" / "lab"


def environment() -> Path:
    """The Python of an environment with sushy-tools, made at first use (blocking, seconds)."""
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"sushy-tools-{VERSION}"
    python = folder / "bin" / "python"
    with (cache / "sushy-tools.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            # The one for which Debian's python3-libvirt is made.
            _run([SYSTEM_PYTHON, "-m", "venv", "--without-pip", "--system-site-packages", folder])
            _run([*_installer(python), f"sushy-tools=={VERSION}"])
            _run([python, "-c", "import libvirt, bcrypt, sushy_tools.emulator.main"])
            (folder / "complete").touch()
    return python


def _installer(python: Path) -> list[str | Path]:
    """The command that installs into the environment: uv, or whichever pip is here."""
    if uv := find_uv():
        return [uv, "pip", "install", "--quiet", "--python", python]
    if pip := find_pip():
        return [*pip, "--python", str(python), "install", "--quiet"]
    raise RackError(
        "sushy-tools cannot be installed: neither uv nor pip is here; "
        "install one (apt-get install -y python3-pip), or use a rack with ipmi BMCs only"
    )


def _run(argv: list[str | Path]) -> None:
    try:
        subprocess.run(argv, check=True, capture_output=True, text=True, timeout=_INSTALL)
    except subprocess.CalledProcessError as error:
        raise RackError(f"sushy-tools: {argv[0]} failed: {error.stderr.strip()[-600:]}") from error
    except subprocess.TimeoutExpired as error:
        raise RackError(f"sushy-tools: {argv[0]} took over {_INSTALL} s; network?") from error


def write_config(folder: Path, python: Path, bmc: BmcSpec, system: str, uri: str) -> list[str]:
    """Write the emulator's files under `folder` and return the command that runs it.

    `system` is the UUID of the one domain that it may show.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "SUSHY_EMULATOR_LISTEN_IP": bmc.address,
        "SUSHY_EMULATOR_LISTEN_PORT": bmc.port,
        "SUSHY_EMULATOR_AUTH_FILE": str(folder / "htpasswd"),
        "SUSHY_EMULATOR_STATE_DIR": str(folder),
        "SUSHY_EMULATOR_LIBVIRT_URI": uri,
        "SUSHY_EMULATOR_ALLOWED_INSTANCES": [system],
        "SUSHY_EMULATOR_BOOT_LOADER_MAP": {
            "UEFI": {"x86_64": str(OVMF_CODE)},
            "Legacy": {"x86_64": None},
        },
        "SUSHY_EMULATOR_SECURE_BOOT_DISABLED_NVRAM": str(OVMF_VARS),
    }
    lines = [f"{key} = {value!r}\n" for key, value in settings.items()]
    (folder / "emulator.conf").write_text("".join(lines))
    (folder / "htpasswd").write_text(f"{bmc.username}:{_hashed(python, bmc.password)}\n")
    (folder / "htpasswd").chmod(0o600)
    emulator = [str(python), "-m", "sushy_tools.emulator.main"]
    return [*emulator, "--config", str(folder / "emulator.conf")]


def _hashed(python: Path, password: str) -> str:
    code = (
        "import bcrypt, sys;"
        "print(bcrypt.hashpw(sys.stdin.buffer.read(), bcrypt.gensalt(4)).decode())"
    )
    done = subprocess.run(
        [python, "-c", code], input=password, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def answers(bmc: BmcSpec, timeout: float = 2.0) -> bool:
    """Whether the service root is there (blocking, at most `timeout` seconds)."""
    try:
        with urllib.request.urlopen(
            f"http://{bmc.address}:{bmc.port}/redfish/v1/", timeout=timeout
        ) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False
