"""Runs a command and turns what goes wrong into one line and an exit code.

0: done. 1: it failed (the database is away, a job failed under `--wait`). 2: wrong use (arguments, configuration,
a module that does not import, an insert that is refused, a schema that is not migrated).
"""

from __future__ import annotations

import sys
import traceback
from typing import NoReturn, cast

import typer

from workerqueue.cli import dev, insert, migrate, run, tasks, version
from workerqueue.cli.problems import Failure
from workerqueue.errors import DatabaseUnavailableError, JobWaitTimeout, WorkerQueueError


class _UsageError(Exception):
    """What is used here of click's class of that name."""

    def format_message(self) -> str:
        """Say what is wrong with the command line."""
        return str(self)


# Typer carries its own copy of click, or uses the one that is installed; its base is the right one either way.
UsageError = cast("type[_UsageError]", typer.BadParameter.__bases__[0])

FAILED = 1
WRONG_USE = 2

app = typer.Typer(
    help="Typed background jobs over PostgreSQL.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("dev")(dev.dev)
app.add_typer(migrate.app, name="migrate")
app.command("insert")(insert.insert)
app.command("tasks")(tasks.tasks)
app.command("version")(version.version)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    sys.exit(_run([each for each in arguments if each != "--debug"], debug=debug))


def _run(arguments: list[str], *, debug: bool) -> int:
    try:
        code: object = app(args=arguments or ["--help"], prog_name="workerqueue", standalone_mode=False)
        return code if isinstance(code, int) else 0 if arguments else WRONG_USE
    except UsageError as error:
        return _complain(f"{error.format_message()} (see `workerqueue --help`)", WRONG_USE, debug=debug)
    except (typer.Abort, KeyboardInterrupt):
        return _complain("interrupted", FAILED, debug=debug)
    except (DatabaseUnavailableError, JobWaitTimeout, Failure) as error:
        return _complain(str(error), FAILED, debug=debug)
    except WorkerQueueError as error:
        return _complain(str(error), WRONG_USE, debug=debug)


def _complain(problem: str, code: int, *, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"workerqueue: {' '.join(problem.split())}", file=sys.stderr)  # noqa: T201 - the command's one line
    return code
