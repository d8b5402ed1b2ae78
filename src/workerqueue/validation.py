"""Pydantic's refusals in this library's words: which field, what was expected, what came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from pydantic import ModelWrapValidatorHandler, ValidationError, model_validator

from workerqueue.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class Checked:
    """A mixin for Pydantic classes whose construction raises `ConfigError` instead of `ValidationError`."""

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_in_our_words(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            names: list[str] = list(getattr(cls, "__dataclass_fields__", ()))
            raise ConfigError(f"{cls.__name__}: {explain(error, positional=names)}") from None


def explain(error: ValidationError, *, with_input: bool = True, positional: Sequence[str] = ()) -> str:
    """Say in one line what Pydantic refused.

    `with_input=False` leaves out the offending values: args may hold what must not reach a log.
    `positional` names the parameters that Pydantic knows only by their number.
    """
    return "; ".join(
        _line(each, with_input=with_input, positional=positional) for each in error.errors(include_url=False)
    )


def path_of(location: tuple[int | str, ...], root: str = "") -> str:
    """Write a location as code would: `args.job.events[3].name`."""
    path = root
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path


def _line(details: ErrorDetails, *, with_input: bool, positional: Sequence[str]) -> str:
    problem = details["msg"].removeprefix("Value error, ")
    came = details["input"]
    if with_input and details["type"] not in {"missing", "value_error"} and isinstance(came, str | int | float):
        problem = f"{problem}, got {came!r}"
    location = details["loc"]
    if location and isinstance(location[0], int) and location[0] < len(positional):
        location = (positional[location[0]], *location[1:])
    where = path_of(location)
    return f"{where}: {problem}" if where else problem
