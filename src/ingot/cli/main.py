"""The `ingot` command: a table of sub-commands, each imported only when it is called."""

from __future__ import annotations

import argparse
import gc
import importlib
import sys
from typing import Any, NoReturn

#: name -> (module, function that adds arguments, function that runs, help). Commands of `ingot.app` run the cloud itself
#: or work on its database; those of `ingot.cli` know it only by its public APIs (a contract of imports).
COMMANDS: dict[str, tuple[str, str, str, str]] = {
    "serve": ("ingot.app.serving", "configure", "run_serve", "run the cloud"),
    "watch": ("ingot.cli.watch", "configure_watch", "run_watch", "see steps live"),
    "events": ("ingot.cli.watch", "configure_events", "run_events", "list what happened"),
    "operations": (
        "ingot.cli.who",
        "configure_operations",
        "run_operations",
        "list long work, and for whom it is done",
    ),
    "audit": ("ingot.cli.who", "configure_audit", "run_audit", "list who changed what"),
    "deadlines": (
        "ingot.cli.deadlines",
        "configure",
        "run",
        "list how long steps take and may take, by hardware model",
    ),
    "doctor": ("ingot.cli.doctor", "configure", "run", "check this host and say what to do"),
    "ramdisk": ("ingot.cli.build", "configure_ramdisk", "run_ramdisk", "build the agent ramdisk"),
    "image": ("ingot.cli.build", "configure_image", "run_image", "build instance images"),
    "lab": ("ingot.cli.lab", "configure", "run", "the virtual rack"),
    "db": ("ingot.app.operate", "configure_db", "run_db", "migrate or check the database"),
    "backup": (
        "ingot.app.operate",
        "configure_backup",
        "run_backup",
        "database and keys to a file",
    ),
    "restore": ("ingot.app.operate", "configure_restore", "run_restore", "the same to a new place"),
    "policy": ("ingot.app.operate", "configure_policy", "run_policy", "check or list policy rules"),
    "config": ("ingot.cli.config", "configure", "run", "show all options"),
}


class Parser(argparse.ArgumentParser):
    """Wrong words are answered in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. See `{self.prog} --help`.\n")


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 well, 1 failed, 2 wrong use, 130 interrupted."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["--version"]:
        from importlib.metadata import version

        print(f"ingot {version('ingot')}")
        return 0
    name = words[0] if words else ""
    if name not in COMMANDS:
        return _usage(name)
    module, configure, run, text = COMMANDS[name]
    command = _loaded(module)
    parser = Parser(prog=f"ingot {name}", description=text)
    getattr(command, configure)(parser)
    try:
        return int(getattr(command, run)(parser.parse_args(words[1:])) or 0)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0


def _loaded(module: str) -> Any:
    """Nothing that a module makes is garbage: not looking for it is a tenth of the start of `ingot serve`."""
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        gc.freeze()
        gc.enable()


def _usage(name: str) -> int:
    if name not in ("", "-h", "--help", "help"):
        known = ", ".join(COMMANDS)
        print(f"ingot: there is no command {name!r}; there are: {known}.", file=sys.stderr)
        return 2
    print("usage: ingot COMMAND [options]\n\ncommands:")
    for command, (_, _, _, text) in COMMANDS.items():
        print(f"  {command:11}{text}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
