"""Finished builds by the digest of what they are made from.

A build appears in the cache whole or not at all: it is made in a working folder
beside its place and renamed into it. Two builds of the same thing at a time: the
second waits for the first and takes its result.

The digest covers our recipe and the options, not the versions that Debian's
archive holds today: a second run needs no network. `force` builds anew.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ingot.builders.types import BuildFault, Built, Progress

RECIPES = Path(__file__).parent / "recipes"


def default_cache() -> Path:
    """$XDG_CACHE_HOME/ingot, or ~/.cache/ingot."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ingot"


def recipe_digest(recipe: Path, code: Path, options: Mapping[str, object]) -> str:
    """16 hex digits over every file of the recipe, the code beside it, and the options."""
    digest = hashlib.sha256()
    parts = (path for path in recipe.rglob("*") if "__pycache__" not in path.parts)
    sources = [*sorted(path for path in parts if path.is_file()), *sorted(code.glob("*.py"))]
    for path in sources:
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    digest.update(json.dumps(options, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def cached(
    cache: Path,
    kind: str,
    digest: str,
    make: Callable[[Path], dict[str, str]],
    *,
    options: Mapping[str, object],
    progress: Progress,
    force: bool = False,
) -> Built:
    """The build `digest` of `kind`, made by `make` if the cache lacks it.

    `make` fills the folder that it is given and returns file names by role.
    """
    start = time.monotonic()
    place = cache / kind / digest
    if not force and (found := _load(place, kind, start)):
        return found
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / f".{digest}.lock").open("w") as lock:
        _lock(lock.fileno(), progress)
        if not force and (found := _load(place, kind, start)):
            return found
        _check_space(place.parent)
        work = Path(tempfile.mkdtemp(prefix=f".{digest}.", dir=place.parent))
        try:
            work.chmod(0o755)
            files = make(work)
            _write_manifest(work, kind, digest, files, options)
            shutil.rmtree(place, ignore_errors=True)
            work.rename(place)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        built = _load(place, kind, start)
    assert built is not None
    return Built(built.kind, digest, place, built.files, True, time.monotonic() - start)


def _load(place: Path, kind: str, start: float) -> Built | None:
    try:
        manifest = json.loads((place / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return None
    files = {role: place / entry["name"] for role, entry in manifest["files"].items()}
    for role, path in files.items():
        if not path.is_file() or path.stat().st_size != manifest["files"][role]["size"]:
            return None  # Somebody took a file away or cut it: build again.
    files["manifest"] = place / "manifest.json"
    return Built(kind, place.name, place, files, False, time.monotonic() - start)


def _lock(descriptor: int, progress: Progress) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    except BlockingIOError:
        progress("another build of the same thing is running: waiting for its result")
    deadline = time.monotonic() + 3600
    while time.monotonic() < deadline:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.5)
    raise BuildFault(
        "wait for the other build", "it holds the lock for an hour", "End it, then run again."
    )


def _check_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < 4 << 30:
        raise BuildFault(
            "check this machine",
            f"{folder} has {free >> 20} MiB free; a build needs 4096 MiB while it runs",
            "Free some space or name another place with --cache.",
        )


def _write_manifest(
    work: Path, kind: str, digest: str, files: dict[str, str], options: Mapping[str, object]
) -> None:
    entries: dict[str, dict[str, object]] = {}
    for role, name in files.items():
        path = work / name
        with path.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        entries[role] = {"name": name, "size": path.stat().st_size, "sha256": sha256}
    document = {
        "kind": kind,
        "digest": digest,
        "built_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "options": dict(options),
        "files": entries,
    }
    (work / "manifest.json").write_text(json.dumps(document, indent=2) + "\n")
