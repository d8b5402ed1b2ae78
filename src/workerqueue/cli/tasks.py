"""`workerqueue tasks`: prints the task table as it resolves here."""

from __future__ import annotations

from workerqueue.cli.output import print_json, print_table
from workerqueue.cli.settings import ConfigFolder, Json, TasksModule, load_config, load_workers
from workerqueue.config import Config
from workerqueue.options import settings_of
from workerqueue.worker import Workers


def tasks(config: ConfigFolder = None, tasks: TasksModule = None, as_json: Json = False) -> None:
    """Print the task table as it resolves here: each kind's queue, priority, attempts, timeout and worker."""
    workers = load_workers(tasks) or Workers()
    rows = resolved_tasks(load_config(config), workers)
    if as_json:
        print_json(rows)
        return
    print_table(
        ["kind", "queue", "dynamic queue", "priority", "attempts", "timeout s", "worker"],
        [
            [
                row["kind"],
                row["queue"],
                row["dynamic_queue"],
                row["priority"],
                row["max_attempts"],
                row["timeout_seconds"],
                "yes" if row["worker"] else "declared" if row["args"] else "no",
            ]
            for row in rows
        ],
    )


def resolved_tasks(config: Config, workers: Workers) -> list[dict[str, object]]:
    """Resolve every kind that the task table or a worker knows, in the table's order."""
    kinds = dict.fromkeys([*config.tasks, *workers.classes])
    return [_resolved(kind, config, workers) for kind in kinds]


def _resolved(kind: str, config: Config, workers: Workers) -> dict[str, object]:
    args_class = workers.classes.get(kind)
    settings = settings_of(kind, config, args_class)
    template = settings.template
    return {
        "kind": kind,
        "queue": settings.queue,
        "dynamic_queue": None if template is None else template.text or "(function)",
        "priority": settings.priority,
        "max_attempts": settings.max_attempts,
        "timeout_seconds": settings.timeout.total_seconds(),
        "args": None if args_class is None else args_class.__name__,
        "worker": workers.get(kind) is not None,
    }
