"""The program that `ipmi_sim` runs for power and boot device: asks the rack's supervisor.

Called as `chassis.py SOCKET BMC get PARAMETER...` or `... set PARAMETER VALUE...`; standard
library only and no imports of ours, because it starts for every BMC command.
"""

import json
import socket
import sys


def main(argv: list[str]) -> int:
    """Pass one command on and print what ipmi_sim wants to read; 1 on failure."""
    path, bmc, verb, *words = argv
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(30)
        control.connect(path)
        request = {"do": "chassis", "bmc": bmc, "verb": verb, "words": words}
        control.sendall(json.dumps(request).encode() + b"\n")
        reply = json.loads(control.makefile("rb").readline())
    if not reply["ok"]:
        print(reply["error"])
        return 1
    for name, value in reply["result"].items():
        print(f"{name}:{value}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
