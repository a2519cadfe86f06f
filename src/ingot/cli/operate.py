"""`ingot db` and `ingot config`: for whoever operates the cloud."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
from pathlib import Path
from typing import Any


def configure_db(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("migrate", "check"))
    parser.add_argument("--config", type=Path, metavar="FILE")
    parser.add_argument("--state", metavar="DIR")
    parser.add_argument("--database", metavar="URL")


def run_db(args: argparse.Namespace) -> int:
    """migrate: bring the schema up to date. check: 0 when it is, 1 when not."""
    # The command line speaks only the public APIs; the database is the app's own matter.
    app: Any = importlib.import_module("ingot.app")
    try:
        text, current = asyncio.run(app.database_command(args))
    except Exception as error:
        said = getattr(error, "sentence", None)
        print(f"ingot: {said() if said else error}", file=sys.stderr)
        return 1
    print(text)
    return 0 if current else 1


def configure_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("reference",))


def run_config(_args: argparse.Namespace) -> int:
    """All options with their defaults, as a settings file to start from."""
    settings: Any = importlib.import_module("ingot.settings")
    print(settings.reference(), end="")
    return 0
