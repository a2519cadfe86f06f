"""One calm log: structured lines, secrets filtered, readable on a terminal and as JSON in a file."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET_KEY = re.compile(
    r"pass(word|wd)?$|secret|token$|authorization|private_key|configdrive", re.I
)
_MASK = "***"


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


def _hide_secrets(
    _logger: object, _name: str, entry: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in entry.items():
        entry[key] = _MASK if is_secret(key) and value else mask(value)
    return entry


def configure(*, json: bool = False, level: str = "info", stream: Any = None) -> None:
    """Set up logging for this process, ours and that of libraries."""
    target = stream or sys.stderr
    render: Any = (
        structlog.processors.JSONRenderer()
        if json
        else structlog.dev.ConsoleRenderer(
            colors=bool(getattr(target, "isatty", bool)()),
            # Rich tracebacks show local variables, and with them secrets.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            _hide_secrets,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=logging.WARNING,
        stream=target,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )


def get(name: str) -> Any:
    """A logger; call `.info("what happened", node=…, step=…)`."""
    return structlog.get_logger(name)
