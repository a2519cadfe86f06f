"""The log: lines for people and for programs, without secrets, and without lines that a value brings along."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from ingot.app import serving
from ingot.kit import log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def told() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    log.configure(level="info", stream=stream)
    yield stream
    log.configure()


def test_lines_for_people(told: io.StringIO) -> None:
    log.get("x").info("powered on", what="n-1", seconds=1.5, note="two\nlines", token="t0p")
    line = told.getvalue()
    assert line.count("\n") == 1
    moment, _, rest = line.partition(" ")
    assert moment.endswith("Z") and "T" in moment
    assert rest.startswith("[info     ] powered on")
    assert rest.endswith("what=n-1 seconds=1.5 note='two\\nlines' token=***\n")


def test_levels(told: io.StringIO) -> None:
    log.get("x").debug("small")
    assert told.getvalue() == ""
    log.configure(level="critical", stream=told)
    log.get("x").error("large")
    assert told.getvalue() == ""


def test_lines_for_programs() -> None:
    stream = io.StringIO()
    log.configure(json=True, stream=stream)
    try:
        log.get("x").warning("odd", body={"password": "s3cret", "size": 1}, path=pytest)
    finally:
        log.configure()
    entry = json.loads(stream.getvalue())
    assert entry["event"] == "odd" and entry["level"] == "warning"
    assert entry["body"] == {"password": "***", "size": 1}
    assert "module" in entry["path"] and entry["timestamp"]


def test_libraries_speak_in_the_same_form() -> None:
    stream = io.StringIO()
    log.configure(json=True, stream=stream)
    try:
        logging.getLogger("some.library").warning("odd %s", "thing")
        logging.getLogger("lib").info("chatter")
    finally:
        log.configure()
    entry = json.loads(stream.getvalue())
    assert entry["event"] == "some.library: odd thing" and entry["level"] == "warning"
    # uvicorn would bring handlers of its own.
    assert serving._server(None).config.log_config is None


def test_tracebacks_show_no_variables(told: io.StringIO) -> None:
    s3cret = "hunter2"
    try:
        raise ValueError(len(s3cret))
    except ValueError as error:
        log.get("x").error("broke", exc_info=error)
        log.get("x").error("broke again", exc_info=True)
    text = told.getvalue()
    assert text.count("ValueError: 7") == 2 and "hunter2" not in text
    assert "test_log.py" in text


def test_paint_on_terminals_only() -> None:
    stream = Terminal()
    log.configure(stream=stream)
    log.get("x").error("red")
    log.configure()
    assert "\33[31m" in stream.getvalue()
