"""`ingot db`, `ingot backup`, `ingot restore` and `ingot policy`: for whoever operates the cloud."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from ingot.app.access import policy_command
from ingot.app.backup import backup, restore
from ingot.app.database import database_command
from ingot.app.services import BY_NAME


def configure_db(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("migrate", "check", "forget"))
    parser.add_argument("name", nargs="?", help="forget: the conductor that will not come back")
    parser.add_argument(
        "--phase",
        choices=("expand", "all"),
        default="all",
        help="expand: only what processes of the release before can live with",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings (TOML)")
    parser.add_argument("--state", metavar="DIR", help="the cloud's state folder")
    parser.add_argument("--database", metavar="URL", help="postgresql://… of a cluster")


def run_db(args: argparse.Namespace) -> int:
    """migrate: bring the schema up to date. check: 0 when it is, 1 when not.

    forget: a conductor that is gone is listed no more.
    """
    if (args.action == "forget") != bool(args.name):
        print("ingot db: forget needs the conductor's name, the others take none.", file=sys.stderr)
        return 2
    try:
        text, current = asyncio.run(database_command(args))
    except Exception as error:
        said = getattr(error, "sentence", None)
        print(f"ingot: {said() if said else error}", file=sys.stderr)
        return 1
    print(text)
    return 0 if current else 1


def configure_backup(parser: argparse.ArgumentParser) -> None:
    _place(parser, "the file to write (tar)")
    parser.add_argument("--images", action="store_true", help="images' contents too")


def configure_restore(parser: argparse.ArgumentParser) -> None:
    _place(parser, "a file that `ingot backup` wrote")


def _place(parser: argparse.ArgumentParser, file: str) -> None:
    parser.add_argument("file", metavar="FILE", help=file)
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings (TOML)")
    parser.add_argument("--state", metavar="DIR", help="the cloud's state folder")
    parser.add_argument("--database", metavar="URL", help="postgresql://… of a cluster")


def run_backup(args: argparse.Namespace) -> int:
    """Database and keys of a cloud that may be at work, in one file."""
    return _copied(backup, args)


def run_restore(args: argparse.Namespace) -> int:
    """The same into an empty place."""
    return _copied(restore, args)


def _copied(copy: Callable[[argparse.Namespace], Coroutine[Any, Any, str]], args: Any) -> int:
    try:
        print(asyncio.run(copy(args)))
    except Exception as error:
        said = getattr(error, "sentence", None)
        print(f"ingot: {said() if said else error}", file=sys.stderr)
        return 1
    return 0


def configure_policy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("check", "list"))
    parser.add_argument(
        "service", nargs="?", choices=tuple(BY_NAME), help="all where none is named"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings that name the files")
    parser.add_argument("--file", type=Path, metavar="FILE", help="rules to try for the service")


def run_policy(args: argparse.Namespace) -> int:
    """check: 0 when the policy files can be used, else file, line and cause. list: all rules that count."""
    if args.file and not args.service:
        print("ingot policy: --file needs the name of its service.", file=sys.stderr)
        return 2
    try:
        print(policy_command(args))
    except Exception as error:
        said = getattr(error, "sentence", None)
        if said is None:
            raise
        print(f"ingot: {said()}", file=sys.stderr)
        return 1
    return 0
