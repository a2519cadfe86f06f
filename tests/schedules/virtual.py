"""An event loop in virtual time: when nothing is ready, its clock jumps to the next timer.

No threads: what is sent to one is done at once. So a run depends on its seed alone, and costs only what is
computed in it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")
#: Told of every new task in the context of which it was made: how a process knows its own tasks.
born: ContextVar[Callable[[asyncio.Task[Any]], None] | None] = ContextVar("born", default=None)


class Stuck(AssertionError):
    """Everybody waits for somebody, and nobody for time."""


class Inline(ThreadPoolExecutor):
    """An executor without threads."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:
            done.set_exception(error)
        return done


class _Jumper(selectors.DefaultSelector):
    """Where a loop would wait, time jumps instead."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            raise Stuck("nobody waits for time any more")
        self.loop.jump(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._virtual = 0.0
        selector = _Jumper()
        selector.loop = self
        super().__init__(selector)
        self.set_default_executor(Inline(1))
        self.set_task_factory(_make_task)

    def time(self) -> float:
        return self._virtual

    def jump(self, seconds: float) -> None:
        self._virtual += seconds


async def sleep(seconds: float) -> None:
    """Let virtual time pass."""
    await asyncio.sleep(seconds)


def _make_task(loop: asyncio.AbstractEventLoop, work: Any, context: Any = None) -> Any:
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
    tell = born.get()
    if tell is not None:
        tell(task)
    return task


def run(work: Coroutine[Any, Any, T], quiet: type[BaseException]) -> T:
    """Run `work` in a loop of its own. quiet: what tasks may die of without anybody looking."""
    loop = VirtualLoop()

    def handler(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), quiet):
            loop.default_exception_handler(context)

    loop.set_exception_handler(handler)
    try:
        return loop.run_until_complete(work)
    finally:
        _cancel_all(loop)
        loop.close()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
