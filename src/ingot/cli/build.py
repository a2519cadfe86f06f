"""`ingot ramdisk build` and `ingot image build debian`.

Progress goes to stderr, one line per step; the last line on stdout is the folder
with the result, or with `-f json` a document with every file's path.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingot.builders import Built, Progress


def configure_ramdisk(parser: argparse.ArgumentParser) -> None:
    """Adds `build` and its options to `ingot ramdisk`."""
    actions = parser.add_subparsers(dest="ramdisk_action", metavar="ACTION", required=True)
    build = actions.add_parser(
        "build",
        help="build the agent ramdisk (stock ironic-python-agent)",
        description="Builds the agent ramdisk from Debian packages and the stock "
        "ironic-python-agent, or finds it in the cache.",
    )
    _add_common(build)


def configure_image(parser: argparse.ArgumentParser) -> None:
    """Adds `build debian` and its options to `ingot image`."""
    actions = parser.add_subparsers(dest="image_action", metavar="ACTION", required=True)
    build = actions.add_parser(
        "build",
        help="build an instance image",
        description="Builds a whole-disk image (BIOS and UEFI) from Debian packages, or finds "
        "it in the cache.",
    )
    build.add_argument("name", choices=["debian"], help="which image")
    build.add_argument(
        "--kernel",
        choices=["cloud", "generic"],
        default="cloud",
        help="cloud: small, for virtual machines (default); generic: drivers of real servers",
    )
    build.add_argument(
        "--size", type=int, default=1024, metavar="MIB", help="virtual size (default 1024)"
    )
    _add_common(build)


def run_ramdisk(args: argparse.Namespace) -> int:
    """Runs `ingot ramdisk build`; returns the exit code."""
    from ingot.builders import build_ramdisk

    return _run(
        args,
        lambda progress: build_ramdisk(
            args.cache,
            progress=progress,
            extra_packages=args.package,
            mirror=args.mirror,
            force=args.force,
        ),
    )


def run_image(args: argparse.Namespace) -> int:
    """Runs `ingot image build`; returns the exit code."""
    from ingot.builders import build_image

    return _run(
        args,
        lambda progress: build_image(
            args.cache,
            progress=progress,
            kernel=args.kernel,
            size_mib=args.size,
            extra_packages=args.package,
            mirror=args.mirror,
            force=args.force,
        ),
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="where results are kept (default $XDG_CACHE_HOME/ingot or ~/.cache/ingot)",
    )
    parser.add_argument(
        "--package",
        action="append",
        default=[],
        metavar="NAME",
        help="one more Debian package; may be repeated (firmware-* from non-free-firmware)",
    )
    parser.add_argument(
        "--mirror",
        default="http://deb.debian.org/debian",
        metavar="URL",
        help="Debian mirror (default %(default)s)",
    )
    parser.add_argument("--force", action="store_true", help="build anew even if cached")
    parser.add_argument(
        "-f", "--format", choices=["text", "json"], default="text", help="form of the last line"
    )


def _run(args: argparse.Namespace, build: "_Build") -> int:
    from ingot.builders import BuildFault

    start = time.monotonic()

    def progress(line: str) -> None:
        print(f"[{time.monotonic() - start:5.1f} s] {line}", file=sys.stderr, flush=True)

    try:
        built = build(progress)
    except BuildFault as fault:
        print(f"failed: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; nothing was kept", file=sys.stderr)
        return 130
    word = "built" if built.fresh else "found in the cache"
    sizes = ", ".join(
        f"{role} {path.stat().st_blocks * 512 / 1e6:.0f} MB"
        for role, path in built.files.items()
        if role not in ("manifest", "packages")
    )
    progress(f"{built.kind} {built.digest} {word}: {sizes}")
    print(_document(built) if args.format == "json" else built.folder)
    return 0


def _document(built: "Built") -> str:
    return json.dumps(
        {
            "kind": built.kind,
            "digest": built.digest,
            "folder": str(built.folder),
            "fresh": built.fresh,
            "seconds": round(built.seconds, 3),
            "files": {role: str(path) for role, path in built.files.items()},
        }
    )


if TYPE_CHECKING:
    from collections.abc import Callable

    _Build = Callable[[Progress], Built]
