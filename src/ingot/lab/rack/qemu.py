"""Machines that the supervisor runs itself: one QEMU process while the power is on, none while off.

The boot order is decided at each start, as a BMC's boot device is read by real firmware at each
boot. For that the guest's own reboot ends QEMU (`-no-reboot`) and the machine is started again at
once: to a watcher it never was off.
"""

import asyncio
import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any, Protocol

from ingot.lab.rack import process
from ingot.lab.rack.types import Accel, MachineSpec, PowerAction, RackError

OVMF_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
OVMF_VARS = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
_QUIT_GRACE = 10.0


class Power(Protocol):
    """What a BMC's wires reach in a machine, whoever runs it."""

    async def is_on(self) -> bool: ...
    async def power(self, action: PowerAction) -> None: ...


def accel_arguments(accel: Accel) -> list[str]:
    """QEMU's acceleration and CPU arguments."""
    if accel == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max"]


def make_disks(spec: MachineSpec, folder: Path) -> list[Path]:
    """Sparse disk files and, for UEFI, the variable store; what is on them already is kept.

    A disk whose size has changed in the rack file is cut or extended.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for number, size in enumerate(spec.disks_gb):
        path = folder / f"disk{number}.raw"
        with path.open("ab") as file:
            file.truncate(size << 30)
        paths.append(path)
    if spec.firmware == "uefi" and not variables(folder).exists():
        shutil.copyfile(OVMF_VARS, variables(folder))
    return paths


def variables(folder: Path) -> Path:
    """The machine's UEFI variable store (a name that sushy-tools leaves as it is)."""
    return folder / "nvram.nosecboot.fd"


def command(
    spec: MachineSpec, accel: Accel, folder: Path, uart: Path, boot: str, monitor: int
) -> list[str]:
    """QEMU's command line. `boot` is "pxe" or anything else for the disks first."""
    network_first = boot == "pxe"
    argv = ["qemu-system-x86_64", "-name", spec.name, "-no-user-config", "-nodefaults"]
    argv += ["-machine", "q35,graphics=off", "-display", "none", "-no-reboot"]
    argv += accel_arguments(accel)
    argv += ["-smp", str(spec.cpus), "-m", str(spec.memory_mb), "-uuid", spec.uuid]
    argv += ["-smbios", smbios(spec)]
    if spec.firmware == "uefi":
        argv += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={OVMF_CODE}"]
        argv += ["-drive", f"if=pflash,unit=1,format=raw,file={variables(folder)}"]
    for number, _ in enumerate(spec.disks_gb):
        # cache=unsafe: a host crash may lose the disk; these disks are worth nothing.
        argv += [
            "-drive",
            f"if=none,id=disk{number},format=raw,cache=unsafe,discard=unmap,"
            f"detect-zeroes=unmap,file={folder}/disk{number}.raw",
            "-device",
            f"virtio-blk-pci,drive=disk{number},serial={spec.serial[-14:]}-{number},"
            f"bootindex={number + (2 if network_first else 1)}",
        ]
    rom = ",romfile=" if spec.pxe == "firmware" else ""
    index = 1 if network_first else len(spec.disks_gb) + 1
    argv += ["-netdev", f"tap,id=net0,ifname={spec.tap},script=no,downscript=no"]
    argv += ["-device", f"virtio-net-pci,netdev=net0,mac={spec.mac},bootindex={index}{rom}"]
    argv += ["-device", "virtio-rng-pci"]
    argv += ["-chardev", f"socket,id=uart,path={uart}", "-serial", "chardev:uart"]
    argv += ["-chardev", f"socket,id=qmp,fd={monitor}", "-mon", "chardev=qmp,mode=control"]
    return argv


def smbios(spec: MachineSpec) -> str:
    """SMBIOS type 1 (system) values, as QEMU takes them."""
    return (
        f"type=1,manufacturer=Ingot,product=Virtual rack machine,"
        f"serial={spec.serial},uuid={spec.uuid}"
    )


class QemuMachine:
    """A machine run by us. Its power is whether its QEMU lives; its boot device is ours to know."""

    def __init__(
        self, spec: MachineSpec, accel: Accel, folder: Path, uart: Path, log: Path
    ) -> None:
        self.spec = spec
        self.boot = "none"
        self._accel: Accel = accel
        self._folder = folder
        self._uart = uart
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._monitor: asyncio.StreamWriter | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """QEMU's process id while the machine is on."""
        if self._process is None or self._process.returncode is not None:
            return None
        return self._process.pid

    async def is_on(self) -> bool:
        return self._keeper is not None and not self._keeper.done()

    async def power(self, action: PowerAction) -> None:
        """Do what the button, the plug or the BMC does; returns when it is done (soft: begun)."""
        async with self._turn:
            on = await self.is_on()
            if action == "soft":
                if on:
                    await self._tell("system_powerdown")
                return
            if action in ("off", "cycle") or (action == "reset" and on):
                await self._end()
            if action in ("on", "cycle") or (action == "reset" and on):
                await self._begin()

    async def _begin(self) -> None:
        if await self.is_on():
            return
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep(started), name=f"qemu {self.spec.name}")
        await started

    async def _end(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None and not keeper.done():
            keeper.cancel()
            await asyncio.wait([keeper])

    async def _keep(self, started: asyncio.Future[None]) -> None:
        """Run QEMU, again after each reboot of the guest, until it powers off."""
        again, why = True, ""
        while again:
            try:
                again = await self._run_once(started)
            except OSError as error:  # not there, not allowed, or its monitor broke off
                again, why = False, str(error)
        if not started.done():
            why = why or process.log_tail(self._log)
            started.set_exception(RackError(f"QEMU of {self.spec.name} ended at once: {why}"))

    async def _run_once(self, started: asyncio.Future[None]) -> bool:
        """One life of QEMU; whether it ended because the guest wants to boot again."""
        ours, theirs = socket.socketpair()
        with theirs:
            argv = command(
                self.spec, self._accel, self._folder, self._uart, self.boot, theirs.fileno()
            )
            child = await process.spawn(argv, self._log, [theirs.fileno()])
        self._process = child
        try:
            return await self._attend(ours, started)
        finally:
            self._monitor = None
            await process.stop(child, _QUIT_GRACE)

    async def _attend(self, monitor: socket.socket, started: asyncio.Future[None]) -> bool:
        """Speak QMP until QEMU ends; whether the guest asked for a reboot."""
        reader, writer = await asyncio.open_connection(sock=monitor)
        reboot = False
        try:
            await reader.readline()  # the greeting
            self._monitor = writer
            await self._tell("qmp_capabilities")
            while line := await reader.readline():
                message: dict[str, Any] = json.loads(line)
                if "return" in message and not started.done():
                    started.set_result(None)
                if message.get("event") == "SHUTDOWN":
                    reboot = message["data"]["reason"] in ("guest-reset", "guest-panic")
        finally:
            writer.close()
        return reboot

    async def _tell(self, name: str) -> None:
        if self._monitor is not None:
            self._monitor.write(json.dumps({"execute": name}).encode() + b"\n")
            await self._monitor.drain()


def runtime_directory(name: str) -> Path:
    """Where the sockets of the rack `name` are (short: socket paths end at 107 characters)."""
    return Path(os.environ.get("INGOT_LAB_RUNTIME", "/run/ingot-lab")) / name
