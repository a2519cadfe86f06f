"""`ingot config`: every option, to start a settings file from."""

from __future__ import annotations

import argparse

from ingot.settings import reference


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("reference",), help="all, with defaults, as TOML")


def run(_args: argparse.Namespace) -> int:
    """All options with their defaults, as a settings file to start from."""
    print(reference(), end="")
    return 0
