"""Memory that the process does not need goes back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import gc

#: mallopt(3): the most arenas, pools of memory that threads have for themselves.
_M_ARENA_MAX = -8


def share_arenas() -> None:
    """Let all threads use one pool: what one has freed is of use to the others.

    They have nothing to gain from their own, since Python lets one run at a time. Before the first thread.
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def settle() -> None:
    """Call at the end of the start: what is there now stays, what the start took beside it goes back.

    The collector need not go through what stays again and again.
    """
    gc.collect()
    gc.freeze()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
