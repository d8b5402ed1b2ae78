"""Makes events of runs: what is cheap at once, the job itself when somebody asks for it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from workerqueue.args import read_args
from workerqueue.database import Claimed, Finished
from workerqueue.errors import ContextError
from workerqueue.events import Event
from workerqueue.job import Job
from workerqueue.job_context import NOTHING, Context, read_context
from workerqueue.options import Payload
from workerqueue.payload import read_json
from workerqueue.worker import Workers


def event_of_run(type_: str, run: Claimed, finished: Finished | None, workers: Workers) -> Event:
    """Make the event of something that happened to a run, which may have ended."""
    return Event(
        type_,
        run.id,
        run.kind,
        run.queue or run.pool,
        run.attempt,
        run.max_attempts,
        None if finished is None else timedelta(seconds=finished.seconds),
        None if finished is None else finished.outcome.reason,
        _context_of(run),
        read=partial(_job_of, run, None if finished is None or type_ == "stale" else finished, workers),
    )


def _context_of(run: Claimed) -> Context:
    try:
        return NOTHING if run.rest is None else read_context(run.extras().context)
    except (ValueError, ContextError):  # plain SQL can store what is none
        return NOTHING


def _job_of(run: Claimed, finished: Finished | None, workers: Workers) -> Job[Payload] | None:
    try:
        job = run.to_job(read_args(run.kind, run.args, workers.classes))
    except (ValueError, ContextError):
        return None
    if finished is not None:
        job.state = finished.outcome.state
        job.output = read_json(finished.outcome.output)
    return job
