"""Machines behind libvirt, for sushy-tools: a private libvirtd in a cell, and domains as XML."""

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from xml.sax.saxutils import quoteattr

from ingot.lab.rack import process
from ingot.lab.rack.qemu import OVMF_CODE, OVMF_VARS, smbios, variables
from ingot.lab.rack.types import Accel, MachineSpec, PowerAction, RackError

_START = 60.0
_CALL = 60.0
_POLL = 0.1

_USER = "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin\n"
_GROUP = "libvirt-qemu:x:64055:\n"
_LIBVIRTD = """unix_sock_dir = "{sockets}"
unix_sock_group = "root"
auth_unix_ro = "none"
auth_unix_rw = "none"
listen_tls = 0
log_outputs = "3:stderr"
"""
_QEMU = """user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
security_default_confined = 0
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
"""


class Cell:
    """One libvirtd with namespaces of its own; everything in it ends with it."""

    def __init__(self, folder: Path, runtime: Path, cache: Path) -> None:
        self._folder = folder
        self._sockets = runtime / "libvirt"
        self._cache = cache
        self._log = folder / "libvirtd.log"
        self.process: asyncio.subprocess.Process | None = None

    @property
    def uri(self) -> str:
        """Connection URI for libvirt clients; works from outside the cell."""
        return f"qemu+unix:///system?socket={self._sockets}/libvirt-sock"

    async def start(self) -> None:
        """Start libvirtd and wait until it answers; `RackError` with its own words if not."""
        mounts = self._files()
        daemon = ["libvirtd", "--config", "/etc/libvirt/libvirtd.conf"]
        daemon += ["--pid-file", "/run/libvirt/libvirtd.pid"]
        plan = json.dumps({"mounts": mounts, "command": daemon})
        argv = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork"]
        argv += [
            "--kill-child=KILL",
            sys.executable,
            "-I",
            str(Path(__file__).with_name("cell.py")),
        ]
        self.process = await process.spawn([*argv, plan], self._log)
        deadline = asyncio.get_running_loop().time() + _START
        while (await self._virsh("uri"))[0] != 0:
            if self.process.returncode is not None:
                raise RackError(
                    f"libvirtd ended with {self.process.returncode}: {process.log_tail(self._log)}"
                )
            if asyncio.get_running_loop().time() > deadline:
                raise RackError(
                    f"libvirtd does not answer after {_START:.0f} s: {process.log_tail(self._log)}"
                )
            await asyncio.sleep(_POLL)
        # sushy-tools puts the images of virtual drives into the pool of this name.
        media = self._folder / "media"
        media.mkdir(exist_ok=True)
        await self.call("pool-create-as", "default", "dir", "--target", str(media))

    def _files(self) -> dict[str, str]:
        """Make the folders and files that the cell sees; from what to where to mount them."""
        shutil.rmtree(self._folder, ignore_errors=True)  # domains of an earlier rack
        self._folder.mkdir(parents=True)
        mounts: dict[str, str] = {}
        for source, target in (
            (self._folder / "etc", "/etc/libvirt"),
            (self._sockets, "/run/libvirt"),
            (self._folder / "lib", "/var/lib/libvirt"),
            (self._folder / "log", "/var/log/libvirt"),
            (self._cache, "/var/cache/libvirt"),
        ):
            source.mkdir(parents=True, exist_ok=True)
            os.makedirs(target, exist_ok=True)
            mounts[str(source)] = target
        # Debian's libvirt-daemon-system would make this user, and start daemons; libvirtd only wants
        # the name to exist (qemu.conf then chooses root).
        for name, line in (("passwd", _USER), ("group", _GROUP)):
            known = Path("/etc", name).read_text()
            copy = self._folder / name
            copy.write_text(known if "\nlibvirt-qemu:" in known else known + line)
            mounts[str(copy)] = f"/etc/{name}"
        etc = self._folder / "etc"
        (etc / "libvirtd.conf").write_text(_LIBVIRTD.format(sockets=self._sockets))
        (etc / "qemu.conf").write_text(_QEMU)
        return mounts

    async def stop(self) -> None:
        """End libvirtd and, with its process namespace, every machine in it."""
        if self.process is None or self.process.returncode is not None:
            return
        # unshare passes no signals on. Its child is process 1 of the cell: the kernel reports its
        # death only when all in the cell are dead, and unshare ends upon that report.
        for child in process.children(self.process.pid):
            os.kill(child, signal.SIGKILL)
        await process.stop(self.process, 10)

    async def define(self, xml: str, path: Path) -> None:
        """Define a domain from XML, written to `path` for people to read."""
        await asyncio.to_thread(path.write_text, xml)
        await self.call("define", str(path))

    async def call(self, *args: str) -> str:
        """Run virsh with these arguments and return what it says."""
        code, text = await self._virsh(*args)
        if code != 0:
            raise RackError(f"libvirt: {' '.join(args)}: {text}")
        return text

    async def _virsh(self, *args: str) -> tuple[int, str]:
        child = await asyncio.create_subprocess_exec(
            "virsh", "-q", "-c", self.uri, *args,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            output, _ = await asyncio.wait_for(child.communicate(), _CALL)
        except TimeoutError:
            child.kill()
            await child.wait()
            return 1, f"no answer in {_CALL:.0f} s"
        return child.returncode or 0, output.decode(errors="replace").strip()


class LibvirtMachine:
    """The machine in a libvirt domain. Its boot device belongs to the domain, not to us."""

    def __init__(self, domain: str, cell: Cell) -> None:
        self._domain = domain
        self._cell = cell

    async def is_on(self) -> bool:
        return await self._cell.call("domstate", self._domain) not in ("shut off", "crashed")

    async def power(self, action: PowerAction) -> None:
        """As the button, the plug or the BMC does; returns when it is done (soft: begun)."""
        on = await self.is_on()
        if action == "soft":
            if on:
                await self._cell.call("shutdown", self._domain)
            return
        if on and action in ("off", "cycle", "reset"):
            await self._cell.call("destroy", self._domain)
        if (action == "on" and not on) or action == "cycle" or (action == "reset" and on):
            await self._cell.call("start", self._domain)


def domain(
    owner: MachineSpec, body: MachineSpec, accel: Accel, folder: Path, uart: Path, bridge: str
) -> str:
    """Domain XML: `owner` is what libvirt (and so the BMC) calls it, `body` the real machine.

    They are the same machine, unless a fault injection has crossed the wires.
    """
    if owner is not body:
        extra = f"<qemu:arg value='-smbios'/><qemu:arg value={quoteattr(smbios(body))}/>"
    else:
        extra = ""
    # Without a limit QEMU keeps up to 1 GiB of translated code.
    tcg = "" if accel == "kvm" else "<tcg><tb-cache unit='MiB'>256</tb-cache></tcg>"
    rom = "<rom enabled='no'/>" if body.pxe == "firmware" else ""
    return f"""<domain type='{"kvm" if accel == "kvm" else "qemu"}'
        xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{owner.name}</name>
  <uuid>{owner.uuid}</uuid>
  <memory unit='MiB'>{body.memory_mb}</memory>
  <vcpu>{body.cpus}</vcpu>
  <sysinfo type='smbios'><system>
    <entry name='manufacturer'>Ingot</entry>
    <entry name='product'>Virtual rack machine</entry>
    <entry name='serial'>{body.serial}</entry>
    <entry name='uuid'>{owner.uuid}</entry>
  </system></sysinfo>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    {_firmware(body, folder)}
    <smbios mode='sysinfo'/>
  </os>
  <features><acpi/>{tcg}</features>
  <cpu mode='{"host-passthrough" if accel == "kvm" else "maximum"}'/>
  <clock offset='utc'/>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    {_disks(body, folder)}
    <interface type='bridge'>
      <source bridge='{bridge}'/>
      <target dev='{body.tap}'/>
      <mac address='{body.mac}'/>
      <model type='virtio'/>
      <boot order='{len(body.disks_gb) + 1}'/>
      {rom}
    </interface>
    <serial type='unix'><source mode='connect' path={quoteattr(str(uart))}/></serial>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <memballoon model='none'/>
  </devices>
  <qemu:commandline>{extra}</qemu:commandline>
</domain>
"""


def _firmware(body: MachineSpec, folder: Path) -> str:
    if body.firmware == "bios":
        # useserial would want sgabios; SeaBIOS has its own serial console.
        return ""
    return (
        f"<loader readonly='yes' secure='no' type='pflash'>{OVMF_CODE}</loader>"
        f"<nvram template='{OVMF_VARS}'>{variables(folder)}</nvram>"
    )


def _disks(body: MachineSpec, folder: Path) -> str:
    return "".join(
        f"""<disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='unsafe' discard='unmap' detect_zeroes='unmap'/>
      <source file={quoteattr(f"{folder}/disk{number}.raw")}/>
      <target dev='vd{chr(97 + number)}' bus='virtio'/>
      <serial>{body.serial[-14:]}-{number}</serial>
      <boot order='{number + 1}'/>
    </disk>"""
        for number, _ in enumerate(body.disks_gb)
    )
