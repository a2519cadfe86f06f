"""`ingot backup` and `ingot restore`: everything that a cloud must not lose, in one file (tar), of a cloud that works.

Database, keys and clouds.yaml; images by choice. SQLite is copied by its online backup (one state, no writer waits),
PostgreSQL by pg_dump. A restore touches nothing that is there: it wants an empty place, and a backup that this
release can read. What was under way when the backup was made goes on when the restored cloud is started.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import Database
from ingot.kit.db.urls import without_password
from ingot.kit.faults import Conflict, Fault, Invalid, Missing, disk_full
from ingot.migrations import known_revisions, revisions
from ingot.settings import Settings, load

FORMAT = 1
_TOKENS = "fernet-keys"
_KEYS = ("vault.key", _TOKENS, "deploy-url-key")
_ABOUT, _SQLITE, _DUMP, _CLOUDS = "about.json", "ingot.db", "ingot.dump", "clouds.yaml"
#: What SQLite keeps beside a database and would believe of the one that is put there.
_BESIDE = ("-wal", "-shm", "-journal")
#: Files in the way that are told by name.
_MOST_TOLD = 5


async def backup(args: argparse.Namespace) -> str:
    """Write the backup; what to say. Fault when something is in the way; then no file is left."""
    settings = load(args.config, state=args.state, database=args.database)
    target = _absolute(args.file)
    if _is_there(target):
        raise Conflict(f"{target} is there already.", next_action="Name another file.")
    file = _sqlite_file(settings)
    if file is not None and not _is_there(file):
        raise Missing(
            f"There is no database {file}.", next_action="Name the state folder with --state."
        )
    try:
        with tempfile.TemporaryDirectory(prefix=".ingot-backup-", dir=target.parent) as work:
            await _gather(settings, Path(work))
            size = _pack(settings, Path(work), target, images=args.images)
    except OSError as error:
        raise disk_full(error) or Fault(f"The backup cannot be written: {error}.") from None
    return f"{target} written, {-(-size >> 20)} MiB" + (
        "" if args.images else "; images are not in it"
    )


async def restore(args: argparse.Namespace) -> str:
    """Put a backup where nothing is; what to say. Fault when it cannot be, before anything is written."""
    settings = load(args.config, state=args.state, database=args.database)
    source = Path(args.file)
    try:
        with tarfile.open(source, "r:") as tar:
            about = _about(tar, source)
            await _refuse_what_does_not_fit(settings, about, tar.getnames())
            state = settings.state_dir
            _make_folder(state)
            with tempfile.TemporaryDirectory(prefix=".ingot-restore-", dir=state) as work:
                await _unpack(settings, tar, Path(work))
    except tarfile.TarError as error:
        raise Invalid(f"{source} is no backup, or is damaged: {error}.") from None
    except OSError as error:
        raise disk_full(error) or Fault(f"The backup cannot be restored: {error}.") from None
    return (
        f"restored what {source} had of {about['at']}: start it with `ingot serve`; "
        "tokens of before are not valid any more"
    )


# -- making --------------------------------------------------------------------------------------


async def _gather(settings: Settings, work: Path) -> None:
    """Database, keys and what they are, into a folder. Keys first: they are older than what they opened."""
    for name in _KEYS:
        if _is_there(settings.keys_dir / name):
            shutil.copyfile(settings.keys_dir / name, work / name)
    if _is_there(settings.state_dir / _CLOUDS):
        shutil.copyfile(settings.state_dir / _CLOUDS, work / _CLOUDS)
    file = _sqlite_file(settings)
    if file is not None:
        _copy_sqlite(file, work / _SQLITE)
        db = Database.at(work / _SQLITE)
    else:
        _run("pg_dump", settings, "--format=custom", "--no-owner", f"--file={work / _DUMP}")
        db = Database(settings.database)
    try:
        at, _ = await revisions(db)
    finally:
        await db.close()
    about = {
        "format": FORMAT,
        "ingot": version("ingot"),
        "revision": at,
        "database": "sqlite" if file is not None else "postgresql",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    (work / _ABOUT).write_text(json.dumps(about))


def _copy_sqlite(source: Path, target: Path) -> None:
    """One state of a database that others write to meanwhile."""
    here = sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, timeout=30)
    there = sqlite3.connect(target)
    try:
        here.backup(there)
        (told,) = there.execute("PRAGMA quick_check").fetchone()
        if told != "ok":
            raise Fault(f"The database {source} is damaged: {told}.")
    except sqlite3.Error as error:
        where = target.parent.parent
        raise Fault(f"The database {source} cannot be copied to {where}: {error}.") from None
    finally:
        there.close()
        here.close()


def _pack(settings: Settings, work: Path, target: Path, *, images: bool) -> int:
    """The tar, whole on the disk or not there; its octets."""
    draft = work / "tar"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        # What is a link here is what it leads to there.
        with tarfile.open(fileobj=file, mode="w", dereference=True) as tar:
            for name in (_ABOUT, *_KEYS, _CLOUDS, _SQLITE, _DUMP):
                if _is_there(work / name):
                    tar.add(work / name, name, filter=_private)
            if images:
                folder = _images(settings)
                for path in sorted(folder.glob("*")):
                    if path.is_file():
                        with contextlib.suppress(FileNotFoundError):  # deleted just now
                            tar.add(path, f"images/{path.name}", filter=_private)
        file.flush()
        os.fsync(file.fileno())
    os.link(draft, target)  # never over a file that came meanwhile
    return target.stat().st_size


def _private(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """For its owner alone, also where others take the file apart."""
    member.mode = 0o600
    return member


# -- putting back --------------------------------------------------------------------------------


def _about(tar: tarfile.TarFile, source: Path) -> dict[str, Any]:
    try:
        file = tar.extractfile(_ABOUT)
        about: dict[str, Any] = json.loads(file.read(1 << 16)) if file else {}
    except (KeyError, ValueError):
        raise Invalid(f"{source} is no backup of Ingot.") from None
    if about.get("format") != FORMAT:
        raise Invalid(
            f"{source} has the form {about.get('format')}, this Ingot reads {FORMAT}.",
            next_action=f"Restore it with Ingot {about.get('ingot')}.",
        )
    if about.get("revision") not in known_revisions():
        raise Invalid(
            f"{source} was made by a newer Ingot ({about.get('ingot')}).",
            next_action="Restore it with that release, or a later one.",
        )
    return about


async def _refuse_what_does_not_fit(
    settings: Settings, about: dict[str, Any], names: list[str]
) -> None:
    """names: the backup's parts. Invalid for what cannot be restored here, Conflict for what is in its way."""
    file = _sqlite_file(settings)
    kind = "sqlite" if file is not None else "postgresql"
    if about["database"] != kind:
        raise Invalid(
            f"The backup is of {about['database']}, and this cloud is to have {kind}.",
            next_action="Restore it into the kind of database that it was made of (--database).",
        )
    if there := _in_the_way(settings, names):
        told = ", ".join(map(str, there[:_MOST_TOLD]))
        more = f" and {len(there) - _MOST_TOLD} more" if len(there) > _MOST_TOLD else ""
        raise Conflict(
            f"Something is there already: {told}{more}.",
            next_action="Restore into an empty state folder.",
        )
    if file is None:
        db = Database(settings.database)
        try:
            tables = await db.read(lambda conn: sa.inspect(conn).get_table_names())
        finally:
            await db.close()
        if tables:
            raise Conflict(
                f"The database has tables already, such as {tables[0]}.",
                next_action="Restore into an empty database.",
            )


def _in_the_way(settings: Settings, names: list[str]) -> list[Path]:
    """Files of another cloud, or of this one as it was, where the backup's parts are to go."""
    wanted = [settings.keys_dir / name for name in _KEYS]
    wanted.append(settings.state_dir / _CLOUDS)
    file = _sqlite_file(settings)
    if file is not None:
        wanted += [file, *(file.with_name(file.name + end) for end in _BESIDE)]
    parts = [PurePosixPath(name).parts for name in names]
    wanted += [_images(settings) / p[1] for p in parts if len(p) == 2 and p[0] == "images"]
    return [path for path in wanted if _is_there(path)]


async def _unpack(settings: Settings, tar: tarfile.TarFile, work: Path) -> None:
    """Everything into a folder beside its place first, so that a damaged file leaves nothing behind."""
    for member in tar:
        name = PurePosixPath(member.name)
        plain = len(name.parts) == 1 or (len(name.parts) == 2 and name.parts[0] == "images")
        if not member.isreg() or not plain or ".." in name.parts or name.is_absolute():
            raise Invalid(f"The backup has an unexpected part: {member.name[:80]!r}.")
        source = tar.extractfile(member)
        assert source is not None
        (work / name).parent.mkdir(exist_ok=True)
        with (work / name).open("wb") as file:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
        (work / name).chmod(0o600)
    if _is_there(work / _DUMP):
        options = ("--no-owner", "--exit-on-error", "--single-transaction")
        _run("pg_restore", settings, *options, str(work / _DUMP))
    _make_folder(settings.keys_dir)
    if _is_there(work / "images"):
        folder = _images(settings)
        _make_folder(folder)
        for path in (work / "images").iterdir():
            _put(path, folder / path.name)
    for name in _KEYS:
        # Tokens that were revoked since then, and users' who were removed, would live again: all log in anew.
        if name != _TOKENS and _is_there(work / name):
            _put(work / name, settings.keys_dir / name)
    if _is_there(work / _CLOUDS):
        _put(work / _CLOUDS, settings.state_dir / _CLOUDS)
    file = _sqlite_file(settings)
    if file is not None and _is_there(work / _SQLITE):
        _make_folder(file.parent)
        _put(work / _SQLITE, file)  # last: with it the cloud is there


def _make_folder(path: Path) -> None:
    """With those above it; each belongs to whoever has the one that it is in."""
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        _give(path)


def _put(source: Path, target: Path) -> None:
    """A file at its place."""
    shutil.move(source, target)
    _give(target)


def _give(path: Path) -> None:
    """To the owner of its folder: root restores for the user who runs the cloud."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


# -- parts ---------------------------------------------------------------------------------------


def _sqlite_file(settings: Settings) -> Path | None:
    if settings.database.startswith("postgresql"):
        return None
    own = settings.database.removeprefix("sqlite:///").partition("?")[0]
    return _absolute(own) if own else settings.state_dir / _SQLITE


def _images(settings: Settings) -> Path:
    return Path(settings.cluster.images or settings.state_dir / "images")


def _absolute(file: str) -> Path:
    return Path(file).absolute()


def _is_there(path: Path) -> bool:
    return path.exists()


def _run(program: str, settings: Settings, *words: str) -> None:
    """With the cloud's own way to its database; the password is in nobody's list of processes."""
    path = shutil.which(program) or _newest(program)
    if path is None:
        raise Fault(
            f"The program {program} is not there.",
            next_action="Install it: apt-get install postgresql-client.",
        )
    url, password = without_password(settings.database)
    env = {**os.environ, **({"PGPASSWORD": password} if password else {})}
    words = (path, f"--dbname={url}", *words)
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Fault(f"{program} failed: {done.stderr.strip()[-500:]}")


def _newest(program: str) -> str | None:
    """Debian keeps those of several releases apart."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    return str(found[-1]) if found else None
