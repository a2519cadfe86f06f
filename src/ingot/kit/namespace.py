"""Living in a network namespace, as a virtual rack and its cloud do."""

from __future__ import annotations

import ctypes
import os

from ingot.kit.faults import Fault

_CLONE_NEWNET = 0x40000000


def enter_namespace(name: str) -> None:
    """Move this thread, and all threads and processes it starts later, into the namespace.

    Sockets that are open already stay where they were made. Call it before any thread is started.
    """
    path = f"/var/run/netns/{name}"
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise Fault(
            f"The network namespace {name} cannot be entered: {error.strerror}.",
            next_action="Bring up what makes it first (a virtual rack: ingot lab up), as root.",
        ) from None
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(handle, _CLONE_NEWNET) != 0:
            reason = os.strerror(ctypes.get_errno())
            raise Fault(
                f"The network namespace {name} cannot be entered: {reason}.",
                next_action="Run as root.",
            )
    finally:
        os.close(handle)
