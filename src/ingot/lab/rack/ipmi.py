"""The IPMI BMC: OpenIPMI's `ipmi_sim`, set up to reach one machine through the supervisor.

What `ipmi_sim` 2.0.33 cannot tell us is whether a boot device is meant for one boot or for all: it
hands on the device only and reports flags of zero. A boot device set here therefore stays until it
is changed. It knows no cipher-suite query either, so callers pass `-C 3`.
"""

import shlex
import shutil
import socket
import sys
import uuid
from pathlib import Path

from ingot.lab.rack.types import BmcSpec

# IPMI boot device names as ipmi_sim says them; "default" is its word for the hard disk.
BOOT_DEVICES = ("none", "pxe", "default", "cdrom", "bios")

_PRESENCE_PING = bytes.fromhex("0600ff06000011be80000000")


def guid(identity: str) -> str:
    """A machine's UUID as the 16 bytes of Get System GUID in hex: least significant byte first.

    Source: IPMI 2.0 section 20.8, table 20-10.
    """
    return uuid.UUID(identity).bytes[::-1].hex()


def write_config(
    folder: Path, bmc: BmcSpec, name: str, identity: str, control: Path, console_port: int
) -> list[str]:
    """Write ipmi_sim's files under `folder` and return the command that runs it.

    `name` is the BMC's name towards the supervisor, `identity` the UUID that it reports.
    """
    # ipmi_sim prefers users that it kept in an earlier life to those of its file.
    shutil.rmtree(folder / "state", ignore_errors=True)
    (folder / "state").mkdir(parents=True)
    script = Path(__file__).with_name("chassis.py")
    chassis = shlex.join([sys.executable, "-I", "-S", str(script), str(control), name])
    config = f"""name "{name}"
set_working_mc 0x20
  startlan 1
    addr {bmc.address} {bmc.port}
    priv_limit admin
    allowed_auths_callback none
    allowed_auths_user md5
    allowed_auths_operator md5
    allowed_auths_admin md5
    guid {guid(identity)}
  endlan
  chassis_control "{chassis}"
  sol "tcp:127.0.0.1:{console_port}" 115200
  user 1 false "" "" user 1 none
  user 2 true "{bmc.username}" "{bmc.password}" admin 10 md5
"""
    commands = f"""mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_set_guid 0x20 {guid(identity)}
mc_enable 0x20
"""
    (folder / "lan.conf").write_text(config)
    (folder / "lan.conf").chmod(0o600)
    (folder / "commands.emu").write_text(commands)
    argv = ["ipmi_sim", "-n", "-c", str(folder / "lan.conf"), "-f", str(folder / "commands.emu")]
    return [*argv, "-s", str(folder / "state")]


def answers(bmc: BmcSpec, timeout: float = 0.2) -> bool:
    """Whether the BMC answers an RMCP presence ping (blocking, at most `timeout` seconds)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(timeout)
        try:
            probe.connect((bmc.address, bmc.port))
            probe.send(_PRESENCE_PING)
            return probe.recv(64)[8:9] == b"\x40"
        except OSError:
            return False
