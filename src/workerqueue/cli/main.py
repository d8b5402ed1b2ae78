"""Runs a command and turns what goes wrong into one line and an exit code.

0: done. 1: it failed (the database is away, a job failed under `--wait`). 2: wrong use (arguments, configuration,
a module that does not import, an insert that is refused, a schema that is not migrated).
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Annotated, NoReturn, cast

import typer

from workerqueue.cli import dev, drain, insert, jobs, migrate, queues, run, schedules, tasks, version
from workerqueue.cli.problems import Failure, WrongUse
from workerqueue.errors import DatabaseUnavailableError, JobWaitTimeout, WorkerQueueError


class _UsageError(Exception):
    """What is used here of click's class of that name."""

    ctx: typer.Context | None

    def format_message(self) -> str:
        """Say what is wrong with the command line."""
        return str(self)


# Typer carries its own copy of click, or uses the one that is installed; its base is the right one either way.
UsageError = cast("type[_UsageError]", typer.BadParameter.__bases__[0])

FAILED = 1
WRONG_USE = 2
INTERRUPTED = 130  # what Typer gives for a command that Ctrl-C ended

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: dict[str, Callable[..., None]] = {
    "run": run.run,
    "dev": dev.dev,
    "drain": drain.drain,
    "insert": insert.insert,
    "tasks": tasks.tasks,
    "version": version.version,
}
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
GROUPS: dict[str, typer.Typer] = {
    "jobs": jobs.app,
    "migrate": migrate.app,
    "queues": queues.app,
    "schedules": schedules.app,
}
for _name, _group in GROUPS.items():
    app.add_typer(_group, name=_name)


@app.callback()
def program(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a mistake (anywhere).")] = False,
) -> None:
    """Typed background jobs over PostgreSQL."""
    del debug  # taken out of the arguments before, so that it may stand behind the command too


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    given = sys.argv[1:] if arguments is None else arguments
    end = given.index("--") if "--" in given else len(given)
    debug = "--debug" in given[:end]
    _exit(_run([*(each for each in given[:end] if each != "--debug"), *given[end:]], debug=debug))


def _run(arguments: list[str], *, debug: bool) -> int:
    if not arguments:
        names = ", ".join([*COMMANDS, *GROUPS])
        return _complain(f"no command; expected one of {names} (see `workerqueue --help`)", WRONG_USE, debug=debug)
    try:
        if app(args=arguments, prog_name="workerqueue", standalone_mode=False) == INTERRUPTED:
            return _complain("interrupted", FAILED, debug=debug)
    except UsageError as error:
        command = error.ctx.command_path if error.ctx else "workerqueue"
        return _complain(f"{error.format_message()} (see `{command} --help`)", WRONG_USE, debug=debug)
    except (typer.Abort, KeyboardInterrupt):
        return _complain("interrupted", FAILED, debug=debug)
    except (DatabaseUnavailableError, JobWaitTimeout, Failure) as error:
        return _complain(str(error), FAILED, debug=debug)
    except (WorkerQueueError, WrongUse) as error:
        return _complain(str(error), WRONG_USE, debug=debug)
    except Exception as error:  # noqa: BLE001 - a mistake of ours, but still one line for the user
        problem = f"unexpected {type(error).__name__}: {error}; run again with --debug, and report it"
        return _complain(problem, FAILED, debug=debug)
    return 0


def _complain(problem: str, code: int, *, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"workerqueue: {' '.join(problem.split())}", file=sys.stderr)  # noqa: T201 - the command's one line
    return code


def _exit(code: int) -> NoReturn:
    """Exit, although threads of workers may still run: their jobs are released, and Python would wait for them."""
    if any(not each.daemon for each in threading.enumerate() if each is not threading.main_thread()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
