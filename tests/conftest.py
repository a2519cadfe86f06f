"""Shared by all tests: asyncio is the one event loop that Ingot runs on, and no test waits for ever."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import postgres

#: Reasons for which a test may be skipped in CI; all else (a judge or a program that cannot be had) fails there.
MAY_SKIP = ("set NIGHTLY=1", "INGOT_NOVA names no Python", "other drivers give rows in pieces")
#: Their files take minutes and are few: they begin first, so that no worker has them left at the end.
LONG = ("flows", "compute", "schedules", "races", "site", "conformance", "drivers")
#: Of a test's time-out: the test itself fails first, with its own stack.
SHARE = 0.9


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "nightly: takes many minutes; runs where NIGHTLY is set")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(LONG)}
    folder = len(os.fspath(Path(__file__).parent).split(os.sep))
    items.sort(key=lambda item: order.get(item.path.parts[folder], len(order)))
    if os.environ.get("NIGHTLY"):
        return
    for item in items:
        if item.get_closest_marker("nightly"):
            item.add_marker(pytest.mark.skip(reason="set NIGHTLY=1 to run it"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """What only looks green is red in CI: a test that did not run because something was missing."""
    outcome: Any = yield
    report = outcome.get_result()
    if not (report.skipped and os.environ.get("CI")) or hasattr(report, "wasxfail"):
        return
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    if not any(allowed in reason for allowed in MAY_SKIP):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} did not run, which is no way to pass in CI: {reason}"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A private PostgreSQL server; the test is skipped where there is none."""
    if reason := postgres.missing():
        pytest.skip(reason)
    with postgres.server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: postgres.Server) -> Iterator[str]:
    """An empty database on it."""
    url = postgres_server.create()
    yield url
    postgres_server.drop(url)


def _within(test: Callable[..., Awaitable[None]], seconds: float) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def limited(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(seconds):
            await test(*args, **kwargs)

    return limited


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """A coroutine that hangs is cancelled inside its loop.

    pytest-timeout, the last resort, raises in the middle of the loop and so breaks every later test of the
    same process.
    """
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        marker = pyfuncitem.get_closest_marker("timeout")
        limit = float(marker.args[0] if marker else pyfuncitem.config.getini("timeout"))
        pyfuncitem.obj = _within(pyfuncitem.obj, limit * SHARE)


# A busy machine may take long over an example; what counts is whether it holds.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
