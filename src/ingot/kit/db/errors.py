"""What a database's errors mean to those who asked for something: gone for a while, full, read only, contended.

Each of the two says it in its own way: PostgreSQL by SQLSTATE, SQLite by the names of its results.
"""

from __future__ import annotations

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

from ingot.kit.faults import Kind, Unavailable


class DatabaseUnavailable(Unavailable):
    """The database does not answer just now. What was being written may be there or not."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(
            "The database does not answer.",
            next_action="Send the request again in a moment.",
            internal=str(getattr(error, "orig", None) or error or repr(error)),
            retry_after=2,
        )


class NoRoom(DatabaseUnavailable):
    """The database can write no more: its disk is full, or refuses. Nothing was written; reads still work."""

    kind = Kind.DISK_FULL

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.text = f"The database cannot write: {self.internal}."
        self.args = (self.text,)
        self.next_action = "Operators: make room on its disk. What is under way goes on by itself."
        self.internal = ""  # it is told once, when it begins
        self.retry_after = 30


class ReadOnly(NoRoom):
    """The database takes no changes: a standby, or a file that may not be written."""

    kind = Kind.UNAVAILABLE

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.next_action = (
            "Operators: make it writable (promote the standby, or give the file and its folder to this user). "
            "What is under way goes on by itself."
        )


class DatabaseFileReplaced(NoRoom):
    """SQLite's file was deleted or replaced while it was open: what is written into it is lost with the process."""

    kind = Kind.UNAVAILABLE

    def __init__(self) -> None:
        super().__init__(OSError("its file was taken away or replaced"))
        self.next_action = (
            "Operators: move the file that was there back, with those beside it (-wal, -shm). "
            "If it is gone for good, stop the cloud and restore a backup."
        )


class Contended(Unavailable):
    """Others changed the same rows again and again, or kept the database for themselves; nothing was written."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(
            "Too many requests change the same thing at once.",
            next_action="Send the request again in a moment.",
            internal=str(getattr(error, "orig", None) or error),
            retry_after=1,
        )


#: PostgreSQL's SQLSTATEs of a server that comes, goes, or has no connection or memory left.
_AWAY_STATES = ("08", "57P", "53")
#: What SQLite and PostgreSQL (disk_full, io_error) say of a disk that takes no more.
_FULL_SQLITE = ("SQLITE_FULL", "SQLITE_IOERR")
_FULL_POSTGRES = ("53100", "58030")
#: A standby (read_only_sql_transaction); a file that is not ours.
_READ_ONLY_SQLITE = ("SQLITE_READONLY",)
_READ_ONLY_POSTGRES = ("25006",)
#: Its folder is not there, or not ours.
_AWAY_SQLITE = ("SQLITE_CANTOPEN",)
#: Somebody else holds the lock for longer than we wait (lock_not_available).
_LOCKED_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED")
_LOCKED_POSTGRES = ("55P03",)
#: Values that a column does not take (data_exception), and constraints.
_VALUE_STATES = ("22", "23")


def is_away(error: BaseException) -> bool:
    """Whether the database could not be reached."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or state(error.orig).startswith(_AWAY_STATES)
    if isinstance(error, OSError):  # a wait that was too long too
        return True
    return state(error).startswith(_AWAY_STATES)


def as_fault(error: Exception) -> Exception:
    """The fault that a caller gets: DatabaseUnavailable, NoRoom, ReadOnly or Contended, else the error itself."""
    if isinstance(error, DBAPIError):
        name = str(getattr(error.orig, "sqlite_errorname", None) or "")
        code = state(error.orig)
        if name.startswith(_FULL_SQLITE) or code in _FULL_POSTGRES:
            return NoRoom(error)
        if name.startswith(_READ_ONLY_SQLITE) or code in _READ_ONLY_POSTGRES:
            return ReadOnly(error)
        if name.startswith(_LOCKED_SQLITE) or code in _LOCKED_POSTGRES:
            return Contended(error)
        if name.startswith(_AWAY_SQLITE):
            return DatabaseUnavailable(error)
    return DatabaseUnavailable(error) if is_away(error) else error


def was_ended(error: BaseException) -> bool:
    """Whether PostgreSQL ended a transaction for another's sake (40001 serialization, 40P01 deadlock)."""
    return isinstance(error, DBAPIError) and state(error.orig) in ("40001", "40P01")


def is_of_values(error: BaseException) -> bool:
    """Whether what was to be written is what is wrong: the same values are refused again, and others are not."""
    if isinstance(error, DBAPIError):
        own = isinstance(error, IntegrityError | DataError)
        return own or state(error.orig).startswith(_VALUE_STATES)
    return isinstance(error, StatementError | TypeError | ValueError | OverflowError)


def state(error: object) -> str:
    """PostgreSQL's SQLSTATE of a driver's error; "" for none."""
    return str(getattr(error, "sqlstate", None) or "")
