"""Memory that the process does not need goes back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import gc

#: mallopt(3): the most arenas, pools of memory that threads have for themselves.
_M_ARENA_MAX = -8
#: Objects through which a collection goes in some 15 ms; so many times more of them are taken from it.
SETTLED_OBJECTS = 20_000
SETTLED_TIMES = 4


def share_arenas() -> None:
    """Let all threads use one pool: what one has freed is of use to the others.

    They have nothing to gain from their own, since Python lets one run at a time. Before the first thread.
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def settle() -> None:
    """Call at the end of the start: what is there now stays, what the start took beside it goes back.

    The collector need not go through what stays again and again, nor through the caches that the first requests
    fill: while it does, nobody is answered.
    """
    gc.collect()
    gc.freeze()
    gc.callbacks.append(_Survivors().after)
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


class _Survivors:
    """What a full collection has left is taken from the collector where it has become much, a few times only.

    A thing in a circle that is taken so is never freed; so the number of times is bounded, and with it what may be
    lost by caches that change their content.
    """

    def __init__(self) -> None:
        self._left = SETTLED_TIMES

    def after(self, phase: str, info: dict[str, int]) -> None:
        """For `gc.callbacks`."""
        if phase != "stop" or info["generation"] != 2 or not self._left:
            return
        if len(gc.get_objects(generation=2)) > SETTLED_OBJECTS:
            gc.freeze()
            self._left -= 1
