"""One calm log: structured lines, secrets filtered, readable on a terminal and as JSON in a file.

A line is a time (UTC), a level, what happened, and named values. The standard library's `logging` writes it, for
libraries as for us; only the two forms are ours. See docs/decisions/0009.
"""

from __future__ import annotations

import functools
import logging
import re
import sys
from datetime import UTC, datetime
from json import dumps
from typing import Any, TextIO

_SECRET_KEY = re.compile(
    r"pass(word|wd)?\Z|secret|token\Z|authorization|private_key|configdrive", re.I
)
_MASK = "***"
#: On a terminal: how each level is painted (ECMA-48), and the end of paint.
_PAINT = {"debug": "\33[2m", "info": "\33[32m", "warning": "\33[33m", "error": "\33[31m"}
_BOLD, _PLAIN = "\33[1m", "\33[0m"
#: Texts that need no quotes around them in a line. All else is quoted: nobody writes lines of his own into a log.
_SIMPLE = re.compile(r"[\w./:@%+,*\[\]<>=-]+")
#: The logger above all of ours, and where a record keeps its named values.
_OURS = "ingot"
_VALUES = "ingot_values"


def is_secret(key: str) -> bool:
    """Whether a field of this name is never to be shown."""
    return bool(_SECRET_KEY.search(key))


def mask(value: Any) -> Any:
    """A copy of a JSON-like value in which every field with a secret's name is masked."""
    if isinstance(value, dict):
        return {
            key: _MASK if is_secret(str(key)) and item else mask(item)  # pyright: ignore
            for key, item in value.items()  # pyright: ignore[reportUnknownVariableType]
        }
    if isinstance(value, list):
        return [mask(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def configure(*, json: bool = False, level: str = "info", stream: TextIO | None = None) -> None:
    """Set up logging for this process, ours from `level` on and that of libraries from warnings on.

    stream: None for standard error, as it is when a line is written.
    """
    handler = _Handler(stream)
    handler.setFormatter(_JsonFormatter() if json else _TextFormatter(handler))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(_OURS).setLevel(level.upper())


class Log:
    """Call `.info("what happened", node=…, step=…)`; `exc_info`: an exception, told with its traceback."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(f"{_OURS}.{name}")

    def debug(self, what: str, /, **values: Any) -> None:
        self._tell(logging.DEBUG, what, values)

    def info(self, what: str, /, **values: Any) -> None:
        self._tell(logging.INFO, what, values)

    def warning(self, what: str, /, **values: Any) -> None:
        self._tell(logging.WARNING, what, values)

    def error(self, what: str, /, **values: Any) -> None:
        self._tell(logging.ERROR, what, values)

    def _tell(self, level: int, what: str, values: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            error = values.pop("exc_info", None)
            if error is True:  # the one that is being handled
                error = sys.exc_info()[1]
            told: Any = None
            if isinstance(error, BaseException):
                told = (type(error), error, error.__traceback__)
            # Not by `log`, which walks the stack for a file and a line that we never show.
            record = logging.LogRecord(self._logger.name, level, "", 0, what, None, told)
            setattr(record, _VALUES, values)
            self._logger.handle(record)


def get(name: str) -> Log:
    """A logger of ours."""
    return Log(name)


# -- forms ---------------------------------------------------------------------------------------


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to standard error as it is now, unless told otherwise: tests put another one there."""

    def __init__(self, stream: TextIO | None) -> None:
        self._fixed = stream
        super().__init__(stream)

    def now(self) -> TextIO:
        return self._fixed or sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = self.now()
        super().emit(record)


def _values(record: logging.LogRecord) -> dict[str, Any]:
    values: dict[str, Any] = getattr(record, _VALUES, {})
    return {key: _MASK if _secret(key) and item else mask(item) for key, item in values.items()}


#: For the names that we give ourselves; there are few.
_secret = functools.lru_cache(1024)(is_secret)


def _moment(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _event(record: logging.LogRecord) -> str:
    """What happened; a library's words with its name before them."""
    ours = record.name.partition(".")[0] == _OURS
    return record.getMessage() if ours else f"{record.name}: {record.getMessage()}"


class _JsonFormatter(logging.Formatter):
    """A line is an object."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {**_values(record), "event": _event(record), "level": record.levelname.lower()}
        entry["timestamp"] = _moment(record)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return dumps(entry, default=repr)


class _TextFormatter(logging.Formatter):
    """For people. Tracebacks are plain text: drawn ones show local variables, and with them secrets."""

    def __init__(self, handler: _Handler) -> None:
        super().__init__()
        self._handler = handler

    def format(self, record: logging.LogRecord) -> str:
        level, what = record.levelname.lower(), _event(record)
        bold = plain = paint = ""
        if self._handler.now().isatty():
            bold, plain, paint = _BOLD, _PLAIN, _PAINT.get(level, "")
        what = what if what.isprintable() else repr(what)
        pairs = " ".join(f"{key}={_shown(value)}" for key, value in _values(record).items())
        head = f"{_moment(record)} [{paint}{level:9}{plain}] {bold}{what:30}{plain}"
        line = f"{head} {pairs}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and _SIMPLE.fullmatch(value) else repr(value)
