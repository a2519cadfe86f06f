"""First process of libvirt's cell: private mounts, one libvirtd, and an end for all it started.

Runs as process 1 of a process namespace of its own, so that the machines which libvirtd detaches
from itself die with this process; with private mounts over libvirt's directories, so that a
libvirtd of the host is neither seen nor touched.
"""

import json
import os
import signal
import subprocess
import sys
from types import FrameType


def main(argv: list[str]) -> int:
    """`argv`: a JSON object {"mounts": {source: target}, "command": [...]}."""
    plan = json.loads(argv[0])
    _mount("-t", "proc", "proc", "/proc")
    _mount("-t", "sysfs", "sysfs", "/sys")  # this one shows the rack's network devices
    for source, target in plan["mounts"].items():
        _mount("--bind", source, target)
    child = subprocess.Popen(plan["command"])

    def end(number: int, frame: FrameType | None) -> None:
        child.terminate()

    signal.signal(signal.SIGTERM, end)
    while True:
        pid, status = os.wait()  # also reaps the machines, which nobody else waits for
        if pid == child.pid:
            return os.waitstatus_to_exitcode(status)


def _mount(*args: str) -> None:
    subprocess.run(["mount", *args], check=True, timeout=10)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
