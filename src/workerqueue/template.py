"""Names computed from a job's args: dynamic queues such as `runs-{id}`, parts, shares; or by a function of the args."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from string import Formatter
from typing import Literal, get_origin
from uuid import UUID

from pydantic import BaseModel

from workerqueue.args import A_NAME, is_name
from workerqueue.errors import ArgsError, near_matches

# What has one obvious, stable spelling in a name.
_SCALARS = (str, int, UUID, Enum)


@dataclass(frozen=True, slots=True)
class QueueTemplate:
    """A name before it knows the args."""

    text: str | None
    """The template; `None` where the name comes from a function."""
    function: Callable[..., str] | None
    parts: tuple[tuple[str, str | None], ...]
    """Literal text, each followed by a field's name (`None` after the last)."""
    setting: str = "dynamic queue"
    """What it is for, for messages."""

    @classmethod
    def of(cls, source: str | Callable[..., str], setting: str = "dynamic queue") -> QueueTemplate:
        """Read a template, or take a function.

        Raises:
            ValueError: If the template does not parse, or holds no field.
        """
        if callable(source):
            return cls(None, source, (), setting)
        parts = tuple(_parse(source))
        if not any(field for _, field in parts):
            raise ValueError(
                f"expected a template with a field, such as 'runs-{{id}}', got {source!r}"
                + (
                    "; a fixed name is a queue: configure it and name it as `queue`"
                    if setting == "dynamic queue"
                    else ""
                )
            )
        return cls(source, None, parts, setting)

    @property
    def fields(self) -> list[str]:
        """The names of the args that the template uses."""
        return [field for _, field in self.parts if field is not None]

    def check(self, args_class: type[BaseModel]) -> None:
        """Check that every field exists on an args class and always has a plain value.

        Raises:
            ValueError: Naming the field, what the class has instead, and the cure.
        """
        for name in self.fields:
            own_name = _field_named(args_class, name)
            if own_name is None:
                raise ValueError(
                    f"{self.text!r} uses {{{name}}}, but {args_class.__name__} has no such field; "
                    f"{near_matches(name, args_class.model_fields)}"
                )
            field = args_class.model_fields[own_name]
            if not field.is_required() or not _is_scalar(field.annotation):
                raise ValueError(
                    f"{self.text!r} uses {{{name}}}, but {args_class.__name__}.{name} is not a required "
                    "text, integer, UUID or enum; a name must be there for every job"
                )

    def render(self, args: BaseModel | Mapping[str, object]) -> str:
        """Give the name for these args.

        Raises:
            ArgsError: If a field is missing, or what comes out can't name a queue.
        """
        name = self._name(args)
        if not is_name(name):
            shown = repr(name) if len(repr(name)) <= 2 * 128 else f"{len(str(name))} characters"
            source = f"template {self.text!r}" if self.text else "function"
            raise ArgsError("args", f"the {self.setting}'s {source} gave {shown}; expected {A_NAME}")
        return name

    def render_where_known(self, args: BaseModel | Mapping[str, object]) -> str:
        """Give the name for these args, or nothing where one of its fields is not among them.

        Raises:
            ArgsError: If what comes out is no name.
        """
        for field in self.fields:
            if _value_of(args, field) is None:
                return ""
        return self.render(args)

    def _name(self, args: BaseModel | Mapping[str, object]) -> object:
        if self.function is None:
            return "".join(text if field is None else text + self._value(args, field) for text, field in self.parts)
        try:
            return self.function(args)
        except Exception as error:
            raise ArgsError("args", f"the {self.setting}'s function raised {type(error).__name__}") from error

    def _value(self, args: BaseModel | Mapping[str, object], field: str) -> str:
        value = _value_of(args, field)
        if value is None or not isinstance(value, _SCALARS):
            raise ArgsError(f"args.{field}", f"expected text or an integer, since the {self.setting} is made of it")
        return str(value)


def _parse(source: str) -> list[tuple[str, str | None]]:
    parts: list[tuple[str, str | None]] = []
    try:
        parsed = list(Formatter().parse(source))
    except ValueError as error:
        raise ValueError(f"expected a template such as 'runs-{{id}}', got {source!r}: {error}") from None
    for text, field, spec, conversion in parsed:
        if field is not None and (not field.isidentifier() or spec or conversion):
            raise ValueError(f"expected plain fields such as '{{id}}', got {source!r}")
        parts.append((text, field))
    return parts


def _is_scalar(annotation: object) -> bool:
    if get_origin(annotation) is Literal:
        return True
    return isinstance(annotation, type) and issubclass(annotation, _SCALARS)


def _field_named(args_class: type[BaseModel], name: str) -> str | None:
    """Find a field by its name, or by the name it has in JSON."""
    if name in args_class.model_fields:
        return name
    return next((own for own, field in args_class.model_fields.items() if field.alias == name), None)


def _value_of(args: BaseModel | Mapping[str, object], field: str) -> object:
    value = args.get(field) if isinstance(args, Mapping) else getattr(args, _field_named(type(args), field) or "", None)
    return value.value if isinstance(value, Enum) else value
