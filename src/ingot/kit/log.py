"""One calm log: structured lines, secrets filtered, readable on a terminal and as JSON in a file.

A line is a time (UTC), a level, what happened, and named values. It is our own because it is so little: the
library that did it before loaded 90 modules, 5 MiB, to draw tracebacks in colours.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from json import dumps
from types import TracebackType
from typing import Any, TextIO

from ingot.kit.clock import SystemClock

_SECRET_KEY = re.compile(
    r"pass(word|wd)?$|secret|token$|authorization|private_key|configdrive", re.I
)
_MASK = "***"
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
#: On a terminal: how each level is painted (ECMA-48), and the end of paint.
_PAINT = {"debug": "\33[2m", "info": "\33[32m", "warning": "\33[33m", "error": "\33[31m"}
#: A log tells of the real time, also where flows run in a virtual one.
_CLOCK = SystemClock()
_BOLD, _PLAIN = "\33[1m", "\33[0m"
#: Texts that need no quotes around them in a line. All else is quoted: nobody writes lines of his own into a log.
_SIMPLE = re.compile(r"[\w./:@%+,*\[\]<>=-]+")

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


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


class _Settings:
    """How this process writes its log."""

    def __init__(self) -> None:
        self.json = False
        self.least = _LEVELS["info"]
        self.stream: TextIO | None = None
        self.guard = threading.Lock()

    def write(self, line: str) -> None:
        # Standard error as it is now, unless told otherwise: tests put another one there.
        stream = self.stream or sys.stderr
        with self.guard:
            stream.write(line + "\n")
            stream.flush()


_settings = _Settings()


def configure(*, json: bool = False, level: str = "info", stream: Any = None) -> None:
    """Set up logging for this process, ours and that of libraries."""
    _settings.json = json
    _settings.least = _LEVELS[level]
    _settings.stream = stream
    logging.basicConfig(
        level=logging.WARNING,
        stream=stream or sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )


class Log:
    """Call `.info("what happened", node=…, step=…)`; `exc_info`: an exception, told with its traceback."""

    def debug(self, what: str, /, **values: Any) -> None:
        _tell("debug", what, values)

    def info(self, what: str, /, **values: Any) -> None:
        _tell("info", what, values)

    def warning(self, what: str, /, **values: Any) -> None:
        _tell("warning", what, values)

    def error(self, what: str, /, **values: Any) -> None:
        _tell("error", what, values)


_LOG = Log()


def get(_name: str) -> Log:
    """A logger. What happened says by itself where: names of modules are not shown."""
    return _LOG


def _tell(level: str, what: str, values: dict[str, Any]) -> None:
    if _LEVELS[level] < _settings.least:
        return
    trace = _trace(values.pop("exc_info", None))
    for key, value in values.items():
        values[key] = _MASK if is_secret(key) and value else mask(value)
    moment = _CLOCK.now().isoformat(timespec="microseconds").replace("+00:00", "Z")
    if _settings.json:
        entry = {**values, "event": what, "level": level, "timestamp": moment}
        if trace:
            entry["exception"] = trace
        _settings.write(dumps(entry, default=repr))
    else:
        _settings.write(_line(level, what, values, moment) + (trace and "\n" + trace))


def _trace(error: BaseException | _ExcInfo | bool | None) -> str:
    """The traceback as plain text: drawn ones show local variables, and with them secrets."""
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, tuple):
        error = error[1]
    if not isinstance(error, BaseException):
        return ""
    return "".join(traceback.format_exception(error)).rstrip("\n")


def _line(level: str, what: str, values: dict[str, Any], moment: str) -> str:
    stream = _settings.stream or sys.stderr
    what = what if what.isprintable() else repr(what)
    pairs = " ".join(f"{key}={_shown(value)}" for key, value in values.items())
    if not bool(getattr(stream, "isatty", bool)()):
        return f"{moment} [{level:9}] {what:30} {pairs}".rstrip()
    paint = _PAINT.get(level, "")
    return f"{moment} [{paint}{level:9}{_PLAIN}] {_BOLD}{what:30}{_PLAIN} {pairs}".rstrip()


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and _SIMPLE.fullmatch(value) else repr(value)
