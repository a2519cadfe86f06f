"""Run all house checks; exit 1 when something is found."""

import sys

from tools.house import run
from tools.house.rules import CHECKS


def main() -> int:
    findings = run(CHECKS)
    for finding in findings:
        print(finding)
    print(f"house: {len(CHECKS)} checks, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
