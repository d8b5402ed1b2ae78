"""The one door to PostgreSQL: the only room that knows the driver, with one `.sql` file per statement."""

from workerqueue.database.caller import AsyncpgRunner, Connection, Runner, in_callers_transaction
from workerqueue.database.callers_pool import Pool
from workerqueue.database.chores import RESIGNED, ChoreTable, Day, Deleted, Election, Index
from workerqueue.database.connection import Database
from workerqueue.database.control import STOP, ControlTable
from workerqueue.database.driver_errors import RefusedDataError, in_our_words
from workerqueue.database.events import SUBSCRIBED, EventTable
from workerqueue.database.job_rows import Claimed, Finished, StoredJob
from workerqueue.database.jobs import JobTable
from workerqueue.database.keys import KeyTable
from workerqueue.database.migrate import Migration, Migrations, migrate, migrations_script
from workerqueue.database.queues import ALL, CHANGED, QueueTable
from workerqueue.database.reconnect import keep_trying
from workerqueue.database.rows import (
    Beat,
    Choice,
    Claim,
    Claimant,
    ClientRow,
    Controlled,
    Counted,
    HandedOver,
    Happened,
    Inserted,
    JobFilter,
    KeyHolder,
    KnownInsert,
    Mark,
    QueueChange,
    Recorded,
    Removal,
    Rescued,
    Room,
    StoredSchedule,
    Taken,
    Walked,
    WorkingClient,
)
from workerqueue.database.schedules import SCHEDULED, ScheduleTable
from workerqueue.database.state import StateTable
from workerqueue.database.turns import let_others_run
from workerqueue.database.url import database_is_named

__all__ = [
    "ALL",
    "CHANGED",
    "RESIGNED",
    "SCHEDULED",
    "STOP",
    "SUBSCRIBED",
    "AsyncpgRunner",
    "Beat",
    "Choice",
    "ChoreTable",
    "Claim",
    "Claimant",
    "Claimed",
    "ClientRow",
    "Connection",
    "ControlTable",
    "Controlled",
    "Counted",
    "Database",
    "Day",
    "Deleted",
    "Election",
    "EventTable",
    "Finished",
    "HandedOver",
    "Happened",
    "Index",
    "Inserted",
    "JobFilter",
    "JobTable",
    "KeyHolder",
    "KeyTable",
    "KnownInsert",
    "Mark",
    "Migration",
    "Migrations",
    "Pool",
    "QueueChange",
    "QueueTable",
    "Recorded",
    "RefusedDataError",
    "Removal",
    "Rescued",
    "Room",
    "Runner",
    "ScheduleTable",
    "StateTable",
    "StoredJob",
    "StoredSchedule",
    "Taken",
    "Walked",
    "WorkingClient",
    "database_is_named",
    "in_callers_transaction",
    "in_our_words",
    "keep_trying",
    "let_others_run",
    "migrate",
    "migrations_script",
]
