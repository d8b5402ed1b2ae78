"""From args and options to one resolved insert.

A setting is looked for in the call (`InsertOpts`), the dynamic queue, the task table, the args class and the
defaults, in this order; `None` inherits and 0 is a value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final, NamedTuple
from uuid import UUID

from pydantic import JsonValue, ValidationError
from pydantic_core import to_json

from workerqueue.args import A_NAME, InsertOpts, JobArgs, is_name, kind_of
from workerqueue.config import (
    DEFAULT_MAX_ATTEMPTS,
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    DEFAULT_TIMEOUT,
    MAX_ATTEMPTS,
    PRIORITIES,
    Config,
    TaskConfig,
)
from workerqueue.durations import as_timedelta
from workerqueue.errors import ArgsError, OptionError, UnknownKindError, UnknownQueueError, brief, near_matches
from workerqueue.job import Job, JobState
from workerqueue.job_context import read_context, written_context
from workerqueue.lanes import LaneOf, lane_of
from workerqueue.option_values import deadline_option, due_option, first_set, integer_option, timeout_option
from workerqueue.payload import MAX_ARGS_BYTES, check_tags, encode_metadata, encode_model, encode_plain, invalid_args
from workerqueue.retry import POLICIES, RetryPolicy, write_policy
from workerqueue.template import QueueTemplate
from workerqueue.unique import Key, UniqueOpts, key_of, unique_key

MAX_FOLLOW_UPS: Final = 10
"""How many jobs may follow each other by `on_discard`."""

_INHERIT: Final = InsertOpts()

Payload = JobArgs | dict[str, JsonValue]
"""A job's args: an object of their class, or plain JSON where the class is not known here."""


@dataclass(frozen=True)
class Terms:
    """What a job is inserted with beside its args and the name it waits under: found and checked."""

    kind: str
    pool: str
    priority: int
    max_attempts: int
    timeout: timedelta
    scheduled_at: datetime | None
    """When it is due; `None` with `delay` counts from the database's now."""
    delay: timedelta
    pending: bool
    retry: str | None
    """The retry policy, as it is stored."""
    tags: tuple[str, ...]
    metadata: Mapping[str, JsonValue]
    metadata_json: str | None
    deadline_at: datetime | None
    """When nobody wants it any more; `None` with `deadline` counts from the database's now."""
    deadline: timedelta | None
    on_discard: str | None = field(repr=False)  # with the args as they are, secrets too
    """The job to insert if this one is discarded, as it is stored."""

    @cached_property
    def written(self) -> str:
        """The terms as a JSON object, which the statements read; most jobs of a kind share one."""
        columns: dict[str, object] = {
            "kind": self.kind,
            "pool": self.pool,
            "priority": self.priority,
            "max_attempts": self.max_attempts,
            "timeout_seconds": self.timeout.total_seconds(),
            "scheduled_at": self.scheduled_at,
            "delay_seconds": self.delay.total_seconds(),
            "pending": self.pending,
            "tags": self.tags or None,
            "deadline_at": self.deadline_at,
            "deadline_seconds": None if self.deadline is None else self.deadline.total_seconds(),
        }
        return _with_members(
            to_json(columns).decode(),
            {"retry": self.retry, "metadata": self.metadata_json, "on_discard": self.on_discard},
        )


# A tuple rather than a dataclass: one is made per insert, and this takes a quarter of the time.
class NewJob(NamedTuple):
    """A job about to be inserted: every setting found and checked, everything encoded."""

    args: Payload
    args_json: str
    queue: str | None
    """The dynamic queue, if it waits in one."""
    terms: Terms
    insert_id: UUID | None = None
    """The caller's own id of this insert, under which it is done once."""
    lane: str | None = None
    """What rules tell it apart by, where its pool or kind has any."""
    keys: tuple[Key, ...] = ()
    """What keeps it from being one job too many."""
    context: str | None = None
    """The context it was inserted in, as it is stored."""

    @property
    def is_plain(self) -> bool:
        """Whether it is inserted whatever is there."""
        return self.insert_id is None and not self.keys

    def __repr__(self) -> str:
        return f"NewJob(kind={self.terms.kind!r}, args={self.args!r})"  # the JSON holds secrets as they are

    def gathered(self, before: NewJob, name: str) -> NewJob | None:
        """Make it with the list of another one's args before its own; `None` if that is too large for one job."""
        together: dict[str, JsonValue] = json.loads(self.args_json)
        first: list[JsonValue] = json.loads(before.args_json).get(name) or []
        then: list[JsonValue] = json.loads(self.args_json)[name]
        together[name] = first + then
        args_json = json.dumps(together, ensure_ascii=False)
        if len(args_json.encode()) > MAX_ARGS_BYTES:
            return None
        args = type(self.args).model_validate_json(args_json) if isinstance(self.args, JobArgs) else together
        return self._replace(args=args, args_json=args_json)

    def to_follow_up(self) -> str:
        """Write the job as it is kept on another one, to be inserted by the statement that discards that one."""
        members: dict[str, str | None] = {"queue": to_json(self.queue).decode(), "lane": to_json(self.lane).decode()}
        members |= {"args": self.args_json, "context": self.context}
        return _with_members(self.terms.written, members)

    def to_job(self, job_id: int, at: datetime) -> Job[Payload]:
        """Make the job as it was inserted, from what the database decided: its id, and when."""
        terms = self.terms
        due = at + terms.delay if terms.scheduled_at is None else terms.scheduled_at
        return Job(
            id=job_id,
            kind=terms.kind,
            args=self.args,
            queue=self.queue or terms.pool,
            pool=terms.pool,
            # As the statements that insert say it.
            state=JobState.PENDING if terms.pending else JobState.SCHEDULED if due > at else JobState.AVAILABLE,
            priority=terms.priority,
            attempt=0,
            max_attempts=terms.max_attempts,
            created_at=at,
            scheduled_at=due,
            timeout=terms.timeout,
            tags=list(terms.tags),
            metadata=dict(terms.metadata),
            deadline_at=terms.deadline_at if terms.deadline is None else at + terms.deadline,
            context=read_context(None if self.context is None else json.loads(self.context)),
        )


def _with_members(written: str, members: Mapping[str, str | None]) -> str:
    """Add members to a JSON object; they are JSON already, and decoding to encode again would only cost."""
    return written[:-1] + "".join(f',"{name}":{value or "null"}' for name, value in members.items()) + "}"


@dataclass(frozen=True, slots=True)
class KindSettings:
    """What the jobs of one kind have when the caller says nothing: its row, then its class, then the defaults."""

    kind: str
    queue: str
    """The configured queue, which is the pool."""
    template: QueueTemplate | None
    """How the dynamic queue's name comes from the args, where there is one."""
    priority: int
    max_attempts: int
    timeout: timedelta
    retry: RetryPolicy | None
    unique: UniqueOpts | None
    row: TaskConfig
    own: InsertOpts
    """The rest of what the args class says."""


def settings_of(kind: str, config: Config, args_class: type[JobArgs] | None) -> KindSettings:
    """Find the settings of one kind.

    Raises:
        OptionError: If the class's own options have a value they can't have.
        ConfigError: If the kind's dynamic queue does not fit its args class.
    """
    row = config.task(kind)
    own = (args_class.insert_opts() if args_class else None) or _INHERIT
    if args_class is not None:
        config.check_class(args_class, kind)
    if own.insert_id is not None:
        raise OptionError(
            f"insert_id: {kind!r} has one for its class, so that only the first of its jobs would be inserted; "
            "give each insert its own, in the call"
        )
    if own.job_key is not None or own.debounce is not None:
        raise OptionError(
            f"job_key: {kind!r} has one for its class, so that all its jobs would be one; "
            "give each insert its own, or use unique"
        )
    return KindSettings(
        kind=kind,
        queue=first_set(row.queue, own.queue, DEFAULT_QUEUE),
        template=row.template,
        priority=integer_option("priority", PRIORITIES, row.priority, own.priority, DEFAULT_PRIORITY),
        max_attempts=integer_option(
            "max_attempts", MAX_ATTEMPTS, row.max_attempts, own.max_attempts, DEFAULT_MAX_ATTEMPTS
        ),
        timeout=timeout_option(row.timeout, own.timeout, DEFAULT_TIMEOUT),
        retry=row.retry if row.retry is not None else own.retry,
        unique=row.unique if row.unique is not None else own.unique,
        row=row,
        own=own,
    )


class Usual(NamedTuple):
    """What an insert without options comes to, for one class: the same each time."""

    terms: Terms
    queue: str | None
    template: QueueTemplate | None
    """Names the dynamic queue instead, where there is one."""
    lane_of: LaneOf | None
    """Finds the lane, where there are rules."""
    unique: UniqueOpts | None
    """What makes its jobs the same."""


class Resolver:
    """Resolves inserts for one configuration."""

    def __init__(self, config: Config, *, strict: bool = True) -> None:
        self._config = config
        self.strict = strict
        self.added: frozenset[str] = frozenset()
        """Queues that were added at run time, as far as they are known here."""
        self._by_class: dict[type[JobArgs], KindSettings] = {}
        self._usual: dict[type[JobArgs], Usual] = {}

    def resolve(self, args: JobArgs, opts: InsertOpts | None = None, *, depth: int = 0) -> NewJob:
        """Resolve an insert of typed args; `depth` counts the jobs it is a follow-up of.

        Raises:
            ArgsError: If args, tags or metadata can't be stored; the path says where.
            OptionError: If an option has a value it can't have.
            UnknownQueueError: If the queue is not configured.
            ConfigError: If the kind's dynamic queue does not fit its args class.
        """
        args_class = type(args)
        usual = self._usual.get(args_class)
        if opts is None and usual is not None and not depth:
            return _usually(usual, args)
        if not isinstance(args, JobArgs):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
            raise ArgsError("args", f"expected an object of a JobArgs class, got {args_class.__name__}")
        settings = self._settings(args_class)
        if opts is not None or depth:
            return self._resolve(settings, args, encode_model(args), opts or _INHERIT, depth)
        terms = self._terms(settings, _INHERIT, 0)
        usual = Usual(
            terms, _own_queue(settings), settings.template, self._lane_of(settings, terms.pool), settings.unique
        )
        self._usual[args_class] = usual
        return _usually(usual, args)

    def resolve_plain(
        self,
        kind: str,
        payload: Mapping[str, object],
        opts: InsertOpts | None,
        classes: Mapping[str, type[JobArgs]],
    ) -> NewJob:
        """Resolve an insert by kind; the payload is validated where the kind's class is known.

        Raises:
            UnknownKindError: If nobody here knows the kind (not when `strict=False`).
            InsertError: And all that `resolve` raises.
        """
        args_class = classes.get(kind)
        if args_class is not None:
            try:
                return self.resolve(args_class.model_validate(payload), opts)
            except ValidationError as error:
                raise invalid_args(error) from None
        if not is_name(kind):
            raise UnknownKindError(f"a kind is {A_NAME}, got {brief(kind)}")
        if self.strict and kind not in self._config.tasks:
            raise UnknownKindError(
                f"nobody here knows the kind {kind!r}: no worker, no row in the task table, no declared class; "
                f"{near_matches(kind, {*classes, *self._config.tasks})}"
            )
        if not isinstance(payload, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
            raise ArgsError("args", f"expected a JSON object, got {type(payload).__name__}")
        encoded, plain = encode_plain(payload)
        return self._resolve(settings_of(kind, self._config, None), plain, encoded, opts or _INHERIT, 0)

    def _resolve(self, settings: KindSettings, args: Payload, args_json: str, opts: InsertOpts, depth: int) -> NewJob:
        terms = self._terms(settings, opts, depth)
        lane_of = self._lane_of(settings, terms.pool)
        lane = None if lane_of is None else lane_of(args)
        queue = _dynamic_queue(settings, args, opts)
        keys = _keys(settings, opts, queue or terms.pool, args, args_json)
        return NewJob(args, args_json, queue, terms, _insert_id(opts.insert_id), lane, keys, written_context())

    def _lane_of(self, settings: KindSettings, pool: str) -> LaneOf | None:
        return lane_of(settings.kind, settings.row, self._config.all_queues.get(pool))

    def _settings(self, args_class: type[JobArgs]) -> KindSettings:
        settings = self._by_class.get(args_class)
        if settings is None:
            settings = self._by_class[args_class] = settings_of(kind_of(args_class), self._config, args_class)
        return settings

    def _terms(self, settings: KindSettings, opts: InsertOpts, depth: int) -> Terms:
        own = settings.own
        window = None if opts.debounce is None else as_timedelta(opts.debounce.window)
        if window is not None and opts.scheduled_at is not None:
            raise OptionError("scheduled_at: expected none beside a debounce, whose window says when")
        scheduled_at, delay = due_option(window, opts.scheduled_at, own.scheduled_at, timedelta())
        deadline_at, deadline = deadline_option(opts.deadline, own.deadline)
        metadata = _metadata(first_set(opts.metadata, own.metadata, {}))
        return Terms(
            kind=settings.kind,
            pool=self._pool(settings.queue if opts.queue is None else opts.queue),
            priority=integer_option("priority", PRIORITIES, opts.priority, settings.priority),
            max_attempts=integer_option("max_attempts", MAX_ATTEMPTS, opts.max_attempts, settings.max_attempts),
            timeout=timeout_option(opts.timeout, settings.timeout),
            scheduled_at=scheduled_at,
            delay=delay,
            pending=first_set(opts.pending, own.pending, False),
            retry=_retry(opts.retry, settings.retry),
            tags=check_tags(first_set(opts.tags, own.tags, ())),
            metadata=metadata,
            metadata_json=encode_metadata(metadata) if metadata else None,
            deadline_at=deadline_at,
            deadline=deadline,
            on_discard=self._follow_up(own.on_discard if opts.on_discard is None else opts.on_discard, depth),
        )

    def _follow_up(self, args: JobArgs | None, depth: int) -> str | None:
        """Resolve the job that is inserted if this one is discarded."""
        if args is None:
            return None
        if depth == MAX_FOLLOW_UPS:
            raise OptionError(f"on_discard: expected at most {MAX_FOLLOW_UPS} jobs that follow each other")
        try:
            return self.resolve(args, depth=depth + 1).to_follow_up()
        except ArgsError as error:
            raise ArgsError(f"on_discard.{error.path}", error.problem) from None

    def _pool(self, queue: str) -> str:
        if not is_name(queue):
            raise UnknownQueueError(f"queue: expected {A_NAME}, got {brief(queue)}")
        if self.strict and queue not in self._config.all_queues and queue not in self.added:
            raise UnknownQueueError(
                f"no queue {queue!r} is configured; {near_matches(queue, self._config.all_queues)} "
                "(a name inside a queue is `dynamic_queue`)"
            )
        return queue


def _usually(usual: Usual, args: JobArgs) -> NewJob:
    queue = usual.queue if usual.template is None else usual.template.render(args)
    lane = None if usual.lane_of is None else usual.lane_of(args)
    args_json = encode_model(args)
    if usual.unique is None:
        return NewJob(args, args_json, queue, usual.terms, lane=lane, context=written_context())
    keys = (unique_key(usual.unique, usual.terms.kind, queue or usual.terms.pool, args_json),)
    return NewJob(args, args_json, queue, usual.terms, lane=lane, keys=keys, context=written_context())


def _keys(settings: KindSettings, opts: InsertOpts, queue: str, args: Payload, args_json: str) -> tuple[Key, ...]:
    """Give the keys that an insert takes: the caller's own, and what unique options make."""
    keys: list[Key] = []
    if opts.job_key is not None:
        keys.append(key_of(opts.job_key, opts.job_key_mode, opts.debounce))
        if opts.debounce is not None and opts.debounce.gather is not None:
            _check_gather(opts.debounce.gather, args, args_json)
    elif opts.job_key_mode is not None or opts.debounce is not None:
        given = "debounce" if opts.debounce is not None else "job_key_mode"
        raise OptionError(f"{given}: expected a job_key beside it")
    unique = opts.unique if opts.unique is not None else settings.unique
    if unique is not None:
        keys.append(unique_key(unique, settings.kind, queue, args_json))
    return tuple(keys)


def _check_gather(name: str, args: Payload, args_json: str) -> None:
    value = json.loads(args_json).get(name)
    if not isinstance(value, list):
        raise OptionError(
            f"debounce.gather: expected the name of a list in the JSON of {type(args).__name__}, got {name!r}"
        )


def _dynamic_queue(settings: KindSettings, args: Payload, opts: InsertOpts) -> str | None:
    """Give the name to wait under inside the pool, if there is one."""
    if opts.dynamic_queue is not None:
        return _dynamic_name(opts.dynamic_queue)
    if opts.queue is not None:
        return None
    if settings.template is not None:
        return settings.template.render(args)
    return _own_queue(settings)


def _own_queue(settings: KindSettings) -> str | None:
    name = settings.own.dynamic_queue
    return None if name is None else _dynamic_name(name)


def _metadata(metadata: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    if not isinstance(metadata, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise ArgsError("metadata", f"expected a JSON object, got {type(metadata).__name__}")
    return metadata


def _dynamic_name(name: str) -> str:
    if not is_name(name):
        raise OptionError(f"dynamic_queue: expected {A_NAME}, got {brief(name)}")
    return name


def _insert_id(insert_id: UUID | None) -> UUID | None:
    if insert_id is not None and not isinstance(insert_id, UUID):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise OptionError(
            f"insert_id: expected a uuid.UUID, got {type(insert_id).__name__}; make one with uuid.uuid4()"
        )
    return insert_id


def _retry(*settings: RetryPolicy | None) -> str | None:
    policy = next((each for each in settings if each is not None), None)
    if policy is not None and not isinstance(policy, POLICIES):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise OptionError(f"retry: expected a policy such as Exponential() or Fixed(30), got {brief(policy)}")
    return None if policy is None else write_policy(policy)
