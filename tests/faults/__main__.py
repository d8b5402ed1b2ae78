"""The command: `run` a profile or the whole release, or let the checker find `mutants`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from tests.faults.mutants import MUTANTS
from tests.faults.parts import NAMES, parts, run_part
from tests.faults.run import run


def main() -> int:
    """Read the arguments and do what they say."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    commands = parser.add_subparsers(required=True)
    running = commands.add_parser("run", help="run a profile")
    running.add_argument("--profile", choices=NAMES, default="ci", help="default: ci")
    running.add_argument("--seed", type=int, default=1)
    running.add_argument("--json", action="store_true")
    running.set_defaults(command=_run)
    seeding = commands.add_parser("mutants", help="seed bugs and see that each is found")
    seeding.add_argument("names", nargs="*", choices=[*MUTANTS, []], help="default: all")
    seeding.add_argument("--seed", type=int, default=1)
    seeding.set_defaults(command=_mutants)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    code: int = arguments.command(arguments)
    return code


def _interrupt(*_: object) -> None:
    """Clean up after SIGTERM as after Ctrl-C."""
    signal.raise_signal(signal.SIGINT)


def _run(arguments: argparse.Namespace) -> int:
    broken = 0
    for part in parts(arguments.profile):
        report = asyncio.run(run_part(part, arguments.seed))
        print(report.json() if arguments.json else report.table(), flush=True)
        print(flush=True)
        broken += not report.holds
    return 1 if broken else 0


def _mutants(arguments: argparse.Namespace) -> int:
    missed = 0
    for name in arguments.names or MUTANTS:
        mutant = MUTANTS[name]
        report = asyncio.run(run(name, mutant.profile, arguments.seed, name))
        missed += report.holds
        found = ", ".join(report.broken) if report.broken else "NOT FOUND"
        print(f"{name} ({mutant.bug}): {found} after {report.seconds:.0f} s", flush=True)
        if report.holds:
            print(report.table(), flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
