"""Files of secret keys: written whole or not at all, mode 0600, and looked at whenever they are read.

A key file that lost its content must not be taken for an empty key, and one that a full disk cut off must not
stop later starts: so a new one is a link to a draft that has reached the disk, and every reading is checked.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from cryptography.fernet import Fernet

from ingot.kit.faults import Fault, Kind

_RETURN = "Put it back from a backup, as all controllers have it; if this cloud was never used, remove the file."


def write_private(path: Path, content: bytes) -> None:
    """Replace a file by one of mode 0600 that is never seen half-written. OSError when that is not possible."""
    draft = _draft(path, content)
    try:
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def create_private(path: Path, content: bytes) -> None:
    """The same for a file that must not replace one that another process made first. Fault says what to do."""
    try:
        draft = _draft(path, content)
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        _sync_folder(path.parent)
    except OSError as error:
        raise Fault(
            f"The key file {path} cannot be made: {error.strerror}.",
            kind=Kind.FULL,
            next_action="Make room, or let this user write there, and start again.",
        ) from None


def read_key(path: Path, least: int) -> bytes:
    """The octets of a file that holds one key. Fault when there are fewer than `least`."""
    content = _read(path)
    if len(content) < least:
        raise _wrong(path, f"is cut off: {len(content)} octets where a key has {least}")
    return content


def read_fernet_keys(path: Path) -> list[bytes]:
    """The keys of a file with one in each line, newest first. Fault when one of them is none."""
    keys = _read(path).split()
    if not keys:
        raise _wrong(path, "holds no key")
    for number, key in enumerate(keys, 1):
        try:
            Fernet(key)
        except ValueError:
            raise _wrong(path, f"is cut off or damaged: key {number} is none") from None
    return keys


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Fault(
            f"The key file {path} cannot be read: {error.strerror}.", next_action=_RETURN
        ) from None
    if not content:
        raise _wrong(path, "is empty")
    return content


def _wrong(path: Path, what: str) -> Fault:
    return Fault(f"The key file {path} {what}.", next_action=_RETURN)


def _draft(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return draft


def _sync_folder(folder: Path) -> None:
    """So that the file's name outlives a loss of power too; not every file system can."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def keep_private(path: Path) -> None:
    """A database's file, made where missing, that nobody but us reads. SQLite gives those beside it the same rights."""
    if str(path) in ("", ".", ":memory:", "sqlite:"):
        return
    with suppress(OSError):  # whoever opens it tells what is wrong with it
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
