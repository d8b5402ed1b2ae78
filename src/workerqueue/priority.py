"""The task table's priorities by name; smaller runs first."""

from enum import IntEnum


class Priority(IntEnum):
    """Names for the priorities that trigger.dev's table uses; any smallint is legal."""

    URGENT = -100
    DEFAULT = 1
    INTERNAL = 50
    LOW = 100
