"""One running server process: spawned, watched until it is ready, and ended with whoever started it.

Beside the server runs a watchdog, a shell that waits for the end of a pipe whose other end only this process
holds. When the pipe closes, on purpose or because this process died (kill -9 included), the watchdog stops
the server. That needs no signal handler and no living thread; PR_SET_PDEATHSIG is Linux only and fires when
the *thread* that spawned the server ends.

The watchdog is the server's sibling, not a child it was born with (`watch & exec postgres`): a postmaster
takes a child it does not know for a backend, so that killing the watchdog would restart every session ("server
process was terminated by signal 9 … reinitializing"), and 18 logs it as untracked. As children of this process
both are waited for, so nothing is left when `running` ends.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from workerqueue.embedded.account import Account
from workerqueue.embedded.binaries import Binaries
from workerqueue.embedded.deadline import until
from workerqueue.embedded.fork import close_in_forks
from workerqueue.errors import ConfigError

READY_SECONDS = 30.0  # long enough for the recovery after a crash
PORTS_TRIED = 5
LOG_LINES = 20
# From polite to certain, with how long each may take. The first needs no signal: the watchdog sends SIGINT.
STOPPING: tuple[tuple[signal.Signals | None, float], ...] = (
    (None, 15.0),
    (signal.SIGQUIT, 6.0),  # a postmaster kills its own children 5 s after this
    (signal.SIGKILL, 5.0),
)
# The server says who it is before it becomes the server, so it is never without a watchdog that knows it.
# Only then does the exec let go of the pipe, which is its stdout until there.
BECOME_SERVER = 'echo "$$"; exec "$@" >&2'
WATCH = 'read -r server || exit 0; read -r _; kill -INT "$server"'


@dataclass(frozen=True)
class Cluster:
    """A data directory, what runs it, and as whom.

    Attributes:
        binaries: The programs.
        account: Who the server runs as.
        data: The data directory.
        log: The file with what the server says.
        lock: The open lock file, which the server keeps open too: locked means that it may still run.
    """

    binaries: Binaries
    account: Account
    data: Path
    log: Path
    lock: IO[bytes]


@contextmanager
def running(cluster: Cluster, settings: Mapping[str, str]) -> Generator[int, None, None]:
    """Run the server of a cluster on a free port of 127.0.0.1, and stop it in the end.

    Yields:
        The port.

    Raises:
        ConfigError: The server ended, or was not ready in time; with the last lines of its log.
    """
    for attempt in range(1, PORTS_TRIED + 1):
        port = free_port()
        with ExitStack() as stack:
            server = _start(cluster, _command(cluster, port, settings), stack)
            if until(_ready_or_ended(cluster.data, server), seconds=READY_SECONDS) and server.poll() is None:
                yield port
                return
            ended = server.poll() is not None
        if not (ended and _port_was_taken(cluster.log) and attempt < PORTS_TRIED):
            raise ConfigError(_why_not_ready(cluster, ended))


def free_port() -> int:
    """Find a port nobody listens on; somebody may before we do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _command(cluster: Cluster, port: int, settings: Mapping[str, str]) -> list[str]:
    # Ours come last: a later -c wins.
    ours = {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": ""}
    ours |= {"logging_collector": "off", "log_destination": "stderr"}
    options = [f"{name}={value}" for name, value in [*settings.items(), *ours.items()]]
    command = [str(cluster.binaries.folder / "postgres"), "-D", str(cluster.data)]
    return command + [part for option in options for part in ("-c", option)]


def _start(cluster: Cluster, command: list[str], stack: ExitStack) -> subprocess.Popen[bytes]:
    """Start watchdog and server; the stack ends them."""
    read_end, write_end = os.pipe()
    leash = stack.enter_context(os.fdopen(write_end, "wb"))
    with os.fdopen(read_end, "rb") as watched:
        watchdog = subprocess.Popen(  # noqa: S603 - a constant command
            ["/bin/sh", "-c", WATCH, "workerqueue-postgres-watchdog"],
            stdin=watched,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
    stack.callback(_end_watchdog, watchdog, leash)
    with cluster.log.open("wb") as log:
        shell = ["/bin/sh", "-c", BECOME_SERVER, "sh", *command]
        server = cluster.account.spawn(shell, stdout=leash, stderr=log, keep=[cluster.lock.fileno()])
    stack.callback(_stop, server, watchdog, leash)
    close_in_forks(leash)  # not before: it is the server's stdout until the exec
    return server


def _stop(server: subprocess.Popen[bytes], watchdog: subprocess.Popen[bytes], leash: IO[bytes]) -> None:
    # Ended by itself, or this is a fork that leaves the context: to it the server and the watchdog, its parent's
    # children, count as ended, and the kill reaches nobody.
    if server.poll() is not None:
        watchdog.kill()  # the pid it knows may soon be another process's
        return
    leash.close()
    if watchdog.poll() is not None and watchdog.returncode != 0:  # somebody killed it
        server.send_signal(signal.SIGINT)
    for stronger, seconds in STOPPING:
        if stronger is not None:
            server.send_signal(stronger)
        if until(lambda: server.poll() is not None, seconds=seconds):
            return


def _end_watchdog(watchdog: subprocess.Popen[bytes], leash: IO[bytes]) -> None:
    leash.close()
    watchdog.wait()


def _ready_or_ended(data: Path, server: subprocess.Popen[bytes]) -> Callable[[], bool]:
    status = data / "postmaster.pid"

    def met() -> bool:
        if server.poll() is not None:
            return True
        try:
            lines = status.read_text().splitlines()
        except FileNotFoundError:
            return False
        # The first line tells it from the file of a server that was killed.
        return len(lines) >= 8 and lines[0] == str(server.pid) and lines[7].strip() == "ready"

    return met


def _port_was_taken(log: Path) -> bool:
    return "could not create any TCP/IP sockets" in log.read_text(errors="replace")


def _why_not_ready(cluster: Cluster, ended: bool) -> str:
    what = "ended before it was ready" if ended else f"was not ready after {READY_SECONDS:g} s"
    lines = cluster.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    said = "\n".join(f"  {line}" for line in lines) or "  (nothing)"
    return f"the PostgreSQL in {cluster.data} {what}; the end of its log says what to change:\n{said}"
