"""SQLite's file under our hands: SQLite does not notice that it was deleted or replaced, and writes on to nobody."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from ingot.kit.auth.keyfiles import keep_private
from ingot.kit.db.errors import DatabaseFileReplaced

#: Databases that are no files.
_NONE = ("", ".", ":memory:", "sqlite:")


class DatabaseFile:
    """The file that a URL names, made where it is missing; which one it is, is settled when it is opened first."""

    def __init__(self, url: str) -> None:
        path = Path(url.partition("?")[0].removeprefix("sqlite:///"))
        self._path = None if str(path) in _NONE else path
        self._mark: tuple[int, int] | None = None
        self._guard = threading.Lock()
        keep_private(path)

    def opened(self) -> None:
        """It was opened, once more or for the first time. DatabaseFileReplaced when it is another one than before."""
        with self._guard:
            self._mark = self._mark or self._seen()
        self.require()

    def require(self) -> None:
        """DatabaseFileReplaced when the file that is open is no more what stands at its place."""
        if self.is_misplaced:
            raise DatabaseFileReplaced

    @property
    def is_misplaced(self) -> bool:
        return self._mark is not None and self._seen() != self._mark

    def _seen(self) -> tuple[int, int] | None:
        if self._path is None:
            return None
        try:
            facts = os.stat(self._path)
        except OSError:
            return None
        return facts.st_dev, facts.st_ino


def prepare(dbapi: Any, _record: object) -> None:
    """A new connection to SQLite, as all of ours are."""
    dbapi.isolation_level = None  # we say BEGIN ourselves
    cursor = dbapi.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "busy_timeout=10000",
        "cache_size=-16000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
