"""The shapes nested in the catalog's args: what an endpoint announces, event filters and schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel
from typing_extensions import TypeAliasType

from workerqueue import JobArgs

T = TypeVar("T")


def _is_none(value: object) -> bool:
    return value is None


Omittable = Annotated[T | None, Field(exclude_if=_is_none)]
"""A field that may be missing: `None` in Python, and left out of the JSON."""

_CAMEL_CASE = ConfigDict(
    alias_generator=to_camel,
    populate_by_name=True,
    serialize_by_alias=True,
    ser_json_inf_nan="constants",  # NaN must be seen and refused at insert, also in a nested model
)


class CatalogArgs(JobArgs):
    """Args of a kind of the catalog: snake_case in Python, camelCase in JSON."""

    model_config = _CAMEL_CASE


class CatalogModel(BaseModel):
    """A shape inside args, written the same way; fields it does not know are ignored."""

    model_config = _CAMEL_CASE


# Event filters


if TYPE_CHECKING:  # pyright does not always see through the form that Pydantic needs
    EventFilter: TypeAlias = "dict[str, list[str] | list[float] | list[bool] | EventFilter]"
else:
    EventFilter = TypeAliasType("EventFilter", "dict[str, list[str] | list[float] | list[bool] | EventFilter]")
"""For each field the values that match, or a filter on what is inside it."""


class EventRule(CatalogModel):
    """Which events a job wants: by name and source, and by what they hold."""

    event: str
    source: str
    payload: Omittable[EventFilter] = None
    context: Omittable[EventFilter] = None


# Events


class DisplayProperty(CatalogModel):
    """A labelled text that a dashboard shows beside a job, run or task."""

    label: str
    text: str
    url: Omittable[str] = None


class EventExample(CatalogModel):
    """An event to try a job with."""

    id: str
    name: str
    icon: Omittable[str] = None
    payload: Omittable[JsonValue] = None


class EventSpecification(CatalogModel):
    """What a job expects of the events that start it."""

    name: str
    title: str
    source: str
    icon: str
    filter: Omittable[EventFilter] = None
    properties: Omittable[list[DisplayProperty]] = None
    # `schema` itself is taken on a Pydantic model.
    schema_: Omittable[JsonValue] = Field(default=None, alias="schema")
    examples: Omittable[list[EventExample]] = None


# Schedules


class CronOptions(CatalogModel):
    """When a cron schedule fires."""

    cron: str


class CronSchedule(CatalogModel):
    """Fires at the times of a cron expression."""

    type: Literal["cron"] = "cron"
    options: CronOptions
    metadata: Omittable[JsonValue] = None


class IntervalOptions(CatalogModel):
    """How far apart an interval schedule fires: a minute to a day."""

    seconds: int = Field(ge=60, le=86_400)


class IntervalSchedule(CatalogModel):
    """Fires every so many seconds."""

    type: Literal["interval"] = "interval"
    options: IntervalOptions
    metadata: Omittable[JsonValue] = None


Schedule = Annotated[CronSchedule | IntervalSchedule, Field(discriminator="type")]


class ScheduledPayload(CatalogModel):
    """What a scheduled event carries: when it is, and when it was last."""

    ts: AwareDatetime
    last_timestamp: Omittable[AwareDatetime] = None


# Triggers


class DynamicTriggerMetadata(CatalogModel):
    """The job is started by a dynamic trigger, which is announced on its own."""

    type: Literal["dynamic"] = "dynamic"
    id: str


class StaticTriggerMetadata(CatalogModel):
    """The job is started by every event that fits a rule."""

    type: Literal["static"] = "static"
    title: str
    properties: Omittable[list[DisplayProperty]] = None
    rule: EventRule


class ScheduledTriggerMetadata(CatalogModel):
    """The job is started by a schedule."""

    type: Literal["scheduled"] = "scheduled"
    schedule: Schedule


Trigger = Annotated[
    DynamicTriggerMetadata | StaticTriggerMetadata | ScheduledTriggerMetadata,
    Field(discriminator="type"),
]


class JobReference(CatalogModel):
    """One version of a job, named."""

    id: str
    version: str


class DynamicTrigger(CatalogModel):
    """A trigger made at run time, and the jobs it starts."""

    id: str
    jobs: list[JobReference]


class DynamicSchedule(CatalogModel):
    """A schedule made at run time, and the jobs it starts."""

    id: str
    jobs: list[JobReference]


# What an endpoint announces


class IntegrationMetadata(CatalogModel):
    """How an integration presents itself."""

    id: str
    name: str
    instructions: Omittable[str] = None


class IntegrationConfig(CatalogModel):
    """A service that a job or source uses, and who holds its credentials."""

    id: str
    metadata: IntegrationMetadata
    auth_source: Literal["HOSTED", "LOCAL"]


class QueueOptions(CatalogModel):
    """The run queue a job wants, and how many of its runs may be under way."""

    name: str
    max_concurrent: Omittable[int] = None


class JobMetadata(CatalogModel):
    """One version of a user's job."""

    id: str
    name: str
    version: str
    event: EventSpecification
    trigger: Trigger
    integrations: dict[str, IntegrationConfig]
    internal: bool = False
    queue: Omittable[str | QueueOptions] = None
    start_position: Literal["initial", "latest"]
    enabled: bool
    preprocess_runs: bool


class SourceMetadata(CatalogModel):
    """Where a user's events come from."""

    channel: Literal["HTTP", "SQS", "SMTP"]
    integration: IntegrationConfig
    key: str
    params: Omittable[JsonValue] = None
    events: list[str]
