"""Reads a TOML file of tables into checked models, one each, naming file, table and field of what is wrong."""

from __future__ import annotations

import reprlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar, cast

from pydantic import BaseModel

from workerqueue.args import A_NAME, is_name
from workerqueue.errors import ConfigError, near_matches
from workerqueue.retry import POLICY_DURATIONS

M = TypeVar("M", bound=BaseModel)

# A duration in a file carries its unit in the key.
UNITS: Mapping[str, str] = {
    f"{field}_seconds": field
    for field in ("timeout", "ageing", "max_age", "keep_completed", "keep_cancelled", "keep_discarded")
}
DURATIONS = POLICY_DURATIONS | {"by_period", "ttl"}
"""Those inside a value, such as a retry policy."""
_WITHOUT_UNIT: Mapping[str, str] = {field: key for key, field in UNITS.items()}


def read_tables(file: Path, model: type[M]) -> dict[str, M]:
    """Read each table of a file as a model; a file that is not there has no tables.

    Raises:
        ConfigError: Naming the file, the table and the field.
    """
    if not file.is_file():
        return {}
    try:
        document: dict[str, object] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML: {error}") from None
    for name in document:
        if not is_name(name):
            raise ConfigError(f"{file} [{name!r}]: expected a name of {A_NAME}")
    return {name: _read_table(f"{file} [{name}]", table, model) for name, table in document.items()}


def _read_table(where: str, table: object, model: type[M]) -> M:
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: expected a table, got {reprlib.repr(table)}")
    entries = cast("dict[str, object]", table)  # TOML's keys are text
    values = {
        _field(where, key, model, is_table=isinstance(value, dict)): _with_units(f"{where} {key}", value)
        for key, value in entries.items()
    }
    try:
        return model.model_validate(values)
    except ConfigError as error:
        # The model's name says nothing here, and the reader of a file knows the key that stands in it.
        problem = str(error).removeprefix(f"{model.__name__}: ")
        for key, field in UNITS.items():
            problem = problem.replace(f"{field}:", f"{key}:", 1) if problem.startswith(f"{field}:") else problem
        raise ConfigError(f"{where} {problem}") from None


def _with_units(where: str, value: object) -> object:
    """Check that the durations inside a value, such as a retry policy, carry their unit."""
    for key in sorted(_keys(value) & DURATIONS):
        raise ConfigError(f"{where}.{key}: a duration needs its unit; write {key}_seconds")
    return value


def _keys(value: object) -> set[str]:
    return set(cast("dict[str, object]", value)) if isinstance(value, dict) else set()


def _field(where: str, key: str, model: type[BaseModel], *, is_table: bool) -> str:
    """Name the model's field for a key."""
    if key in _WITHOUT_UNIT:
        raise ConfigError(f"{where} {key}: a duration needs its unit; write {_WITHOUT_UNIT[key]}")
    field = UNITS.get(key, key)
    if field not in model.model_fields and is_table:
        raise ConfigError(
            f'{where} {key}: a name with a dot is quoted; write ["{where.rpartition("[")[2][:-1]}.{key}"]'
        )
    if field not in model.model_fields:
        known = [_WITHOUT_UNIT.get(name, name) for name in model.model_fields]
        raise ConfigError(f"{where} {key}: no such setting; {near_matches(key, known)}")
    return field
