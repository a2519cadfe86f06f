"""Which acceleration really works: found by booting firmware, not by the presence of /dev/kvm.

There are hosts on which /dev/kvm opens and every firmware hangs in it. The probe boots SeaBIOS
and OVMF with KVM and reads their serial consoles; both must get to the point of giving up on
their boot devices. The answer is kept until the next boot of the host.
"""

import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import Literal

from ingot.lab.rack import process
from ingot.lab.rack.qemu import OVMF_CODE, accel_arguments
from ingot.lab.rack.redfish import cache_directory

_TIMEOUT = 10.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


async def probe() -> Literal["tcg", "kvm"]:
    """The best acceleration that boots both firmwares here; takes up to 10 s, once per boot."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    kept = _kept()
    if kept is not None:
        return kept
    works = all(
        await asyncio.gather(
            _boots([], b"No bootable device"),
            _boots(["-drive", f"if=pflash,format=raw,readonly=on,file={OVMF_CODE}"], b"BdsDxe"),
        )
    )
    _keep(works)
    return "kvm" if works else "tcg"


def _kept() -> Literal["tcg", "kvm"] | None:
    try:
        answer = json.loads(_file().read_text())
        if answer["boot"] == _BOOT_ID.read_text().strip():
            return "kvm" if answer["kvm"] else "tcg"
    except (OSError, ValueError, KeyError):
        pass  # nothing kept yet
    return None


def _keep(works: bool) -> None:
    file = _file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"boot": _BOOT_ID.read_text().strip(), "kvm": works}))


def _file() -> Path:
    return cache_directory() / "accel.json"


async def _boots(firmware: list[str], sign: bytes) -> bool:
    with tempfile.TemporaryDirectory(prefix="ingot-accel-") as folder:
        serial = Path(folder) / "serial"
        argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"]
        argv += ["-machine", "q35,graphics=off", "-m", "256", *accel_arguments("kvm"), *firmware]
        argv += ["-serial", f"file:{serial}"]
        child = await process.spawn(argv, Path(folder) / "log")
        try:
            async with asyncio.timeout(_TIMEOUT):
                while child.returncode is None:
                    if serial.exists() and sign in serial.read_bytes():
                        return True
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pass
        finally:
            await process.stop(child, 1)
    return False
