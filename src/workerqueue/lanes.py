"""Lanes: what rules tell the waiting jobs of a pool apart by, so that a claim can pass over many of them in one step.

A lane is written as whose share it is, the kind, and the part of the kind, with a character between them that no name
can hold. A job has none where neither its pool nor its kind has a rule that needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pydantic import BaseModel

from workerqueue.config import QueueConfig, TaskConfig

BETWEEN: Final = "\x1f"

LaneOf = Callable[[BaseModel | Mapping[str, object]], str]


def lane_of(kind: str, task: TaskConfig, queue: QueueConfig | None) -> LaneOf | None:
    """Give what finds the lane of a kind's jobs in a queue by their args; `None` where they need none."""
    share = None if queue is None else queue.share
    if not task.has_rules and not (queue is not None and queue.tells_apart):
        return None
    partition = task.partition
    if share is None and partition is None:
        lane = f"{BETWEEN}{kind}{BETWEEN}"
        return lambda _: lane

    def find(args: BaseModel | Mapping[str, object]) -> str:
        whose = "" if share is None else share.render_where_known(args)
        part = "" if partition is None else partition.render(args)
        return f"{whose}{BETWEEN}{kind}{BETWEEN}{part}"

    return find
