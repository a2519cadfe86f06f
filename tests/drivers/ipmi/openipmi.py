"""OpenIPMI's `ipmi_sim` on loopback: an IPMI controller that we did not write."""

import asyncio
import os
import shutil
import socket
import stat
from pathlib import Path

from ingot.drivers.machine.ipmi.probe import answers

USER, PASSWORD = "admin", "s3cret-pass"
GUID = "4c4c4544004b3510805ab4c04f4e5432"

LAN = """\
name "bench"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid {guid}
  endlan
  chassis_control "{folder}/chassis 0x20"
  sol "telnet:127.0.0.1:{sol_port}" 115200
  user 2 true "{user}" "{password}" admin 10 none md2 md5 straight
"""
COMMANDS = """\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_set_guid 0x20 {guid}
mc_enable 0x20
"""
CHASSIS = """\
#!/bin/sh
cd {folder}; echo "$@" >> calls; shift; op=$1; shift
while [ $# -gt 0 ]; do
  name=$1; shift
  if [ $op = set ]; then
    if [ $name = power ] && [ $1 = 1 ] && [ "$(cat power)" = 0 ]; then echo x >> cycles; fi
    if [ $name = shutdown ]; then echo 0 > power; else echo $1 > $name; fi
    shift
  else echo $name:$(cat $name); fi
done
"""


def available() -> bool:
    return bool(shutil.which("ipmi_sim") and shutil.which("ipmitool"))


def free_port(kind: int = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Simulator:
    """One ipmi_sim process with a chassis made of files in `folder`."""

    def __init__(self, folder: Path, sol_port: int | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.sol_port = sol_port or free_port(socket.SOCK_STREAM)
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "Simulator":
        words = {
            "port": self.port,
            "sol_port": self.sol_port,
            "folder": self.folder,
            "guid": GUID,
            "user": USER,
            "password": PASSWORD,
        }
        (self.folder / "state").mkdir()
        for name, value in (("power", "0"), ("boot", "none"), ("cycles", ""), ("calls", "")):
            (self.folder / name).write_text(value)
        (self.folder / "lan.conf").write_text(LAN.format(**words))
        (self.folder / "commands").write_text(COMMANDS.format(**words))
        chassis = self.folder / "chassis"
        chassis.write_text(CHASSIS.format(**words))
        chassis.chmod(chassis.stat().st_mode | stat.S_IXUSR)
        self._process = await asyncio.create_subprocess_exec(
            *("ipmi_sim", "-c", "lan.conf", "-f", "commands", "-n", "-s", "state"),
            cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=(self.folder / "log").open("wb"),
            stderr=asyncio.subprocess.STDOUT,
            env=os.environ,
        )
        await self._wait_until_it_answers()
        return self

    async def _wait_until_it_answers(self) -> None:
        async with asyncio.timeout(20):
            while not await answers("127.0.0.1", self.port):
                await asyncio.sleep(0.05)

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.wait()

    async def cycles(self) -> int:
        return len((self.folder / "cycles").read_text().split())

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    def driver_info(self) -> dict[str, object]:
        return {
            "ipmi_address": "127.0.0.1",
            "ipmi_port": self.port,
            "ipmi_username": USER,
            "ipmi_password": PASSWORD,
        }
