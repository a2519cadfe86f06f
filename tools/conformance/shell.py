"""One stock `openstack` process that runs many commands; its environment says which cloud.

usage: shell.py FILE

Reads a JSON list of words a line, writes one JSON object a line: {"code", "out"}. The client's modules are
loaded and the cloud is logged in to once, so that a command costs as much as its requests. FILE takes what
commands write, wherever they write it.
"""

import json
import os
import sys

from openstackclient import shell


def run(program, words):
    try:
        code = program.run_subcommand(words)
    except SystemExit as end:  # wrong use of a command
        code = end.code
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code or 0


def main():
    answers = os.fdopen(os.dup(1), "w")
    file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    program = shell.OpenStackShell()
    program.run(["--os-baremetal-api-version", "latest", "token", "issue"])
    for line in sys.stdin:
        os.ftruncate(file, 0)
        code = run(program, json.loads(line))
        out = os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace")
        answers.write(json.dumps({"code": code, "out": out}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
