"""Schedules: events that time brings about."""

from __future__ import annotations

from tasks.schemas import CatalogArgs, DynamicSchedule, ScheduledPayload


class DeliverScheduledEventArgs(CatalogArgs):
    """Deliver one occurrence of a schedule, and plan the next. The id is the schedule source's."""

    id: str
    payload: ScheduledPayload

    @classmethod
    def kind(cls) -> str:
        return "events.deliverScheduled"


class RegisterDynamicScheduleArgs(CatalogArgs):
    """Take up one dynamic schedule that an endpoint announced."""

    endpoint_id: str
    dynamic_schedule: DynamicSchedule

    @classmethod
    def kind(cls) -> str:
        return "registerDynamicSchedule"
