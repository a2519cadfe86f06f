"""Crash-safe long work.

An operation is a row; a workflow is an async function that runs from top to bottom. Finished
steps are recorded and return their record when the workflow runs again; a wait costs a row, not a coroutine.
Services call `start`, `signal` and `cancel` inside their own transactions.

types       shapes for authors and callers
tables      operations, steps, signals, conductors
store       all SQL
op          what an author holds in hand
running     one step or undo from its first attempt to its end
waiting     one wait for a signal
engine      claims, tells, ends, keeps the lease
saver       many saves in few commits
pacing      how fast operations are taken on
timing      deadlines, learned and kept
held        operations done by whoever started them
purging     what was kept long enough
history     how steps went in the past
learned     what was learned of deadlines, for people
membership  who is alive
local       the dispatcher of one machine
cluster     the dispatcher on Procrastinate (PostgreSQL)
loops       reconcilers
tasks       background tasks that end with their owner
testing     the harness that breaks every step of a workflow
"""

from .cluster import ClusterDispatcher
from .definition import Workflow
from .engine import Engine
from .held import end_held
from .local import LocalDispatcher
from .loops import Loop, LoopStatus
from .membership import ConductorRow, forget_conductor, list_conductors
from .op import Op, StepContext
from .purging import FIRST, purge, purge_steps
from .store import (
    cancel,
    live_id,
    live_operation,
    live_operations,
    operation,
    signal,
    start,
)
from .store import list_operations as operations
from .store import list_steps as steps
from .timing import Estimate, estimate
from .types import DEFAULT, ONCE, FaultRecord, OperationRow, Retry, StepRow

__all__ = [
    "DEFAULT",
    "FIRST",
    "ONCE",
    "ClusterDispatcher",
    "ConductorRow",
    "Engine",
    "Estimate",
    "FaultRecord",
    "LocalDispatcher",
    "Loop",
    "LoopStatus",
    "Op",
    "OperationRow",
    "Retry",
    "StepContext",
    "StepRow",
    "Workflow",
    "cancel",
    "end_held",
    "estimate",
    "forget_conductor",
    "list_conductors",
    "live_id",
    "live_operation",
    "live_operations",
    "operation",
    "operations",
    "purge",
    "purge_steps",
    "signal",
    "start",
    "steps",
]
