"""Procrastinate's jobs as our dispatcher ends them; imported where Procrastinate is used."""

from __future__ import annotations

import logging
from collections.abc import Callable

import psycopg
from procrastinate import connector, exceptions, jobs, manager

from ingot.kit.db.database import DatabaseUnavailable
from ingot.kit.tasks.clock import Clock

log = logging.getLogger(__name__)

_GONE = "DELETE FROM procrastinate_jobs WHERE id = %(job_id)s"
RETRY_SECONDS = 1.0
#: After so long a database that is away is so for the worker, too, and its jobs are dropped as stalled.
PATIENCE_SECONDS = 120.0


class BriefDatabaseErrors(logging.Filter):
    """Procrastinate's word of a database that is away, which is no error of anybody's code: a line, no traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        cause = error.__cause__ if isinstance(error, exceptions.ConnectorException) else error
        if isinstance(cause, psycopg.OperationalError | DatabaseUnavailable):
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.msg = f"{record.getMessage().split(':')[0]}: {' '.join(str(cause).split())}"
            record.args = ()
        return True


for _name in ("procrastinate.utils", "procrastinate.worker"):
    logging.getLogger(_name).addFilter(BriefDatabaseErrors())


class Jobs(manager.JobManager):
    """Ends jobs so that two things which are no errors are none.

    A job that others have removed, because its worker was taken for dead, is gone when it ends: Procrastinate would
    raise, and a traceback would stand in the log for each. And a job that ends while the database is away for a
    moment would stay "in work" for as long as its worker lives: it is removed when the database is back.
    """

    def __init__(
        self, connected: connector.BaseConnector, clock: Clock, stopping: Callable[[], bool]
    ) -> None:
        """stopping: whether this process is about to go."""
        super().__init__(connected)
        self._clock = clock
        self._stopping = stopping

    async def finish_job(self, job: jobs.Job, status: jobs.Status, delete_job: bool) -> None:
        """All ours are deleted when they end."""
        ends = self._clock.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                await self.connector.execute_query_async(_GONE, job_id=job.id)
                return
            except exceptions.ConnectorException as error:
                if self._stopping() or self._clock.monotonic() > ends:
                    log.warning(
                        "the job %s is left to be dropped with its worker: the database "
                        "does not answer (%s)",
                        job.task_kwargs,
                        error.__cause__ or error,
                    )
                    return
            await self._clock.sleep(RETRY_SECONDS)
