"""One object of every args class of the catalog: with every field set, and with the least that will do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from tasks.connections import ConnectionCreatedArgs, MissingConnectionCreatedArgs
from tasks.deployments import StartInitialProjectDeploymentArgs
from tasks.emails import ScheduleEmailArgs
from tasks.endpoints import IndexEndpointArgs, RegisterDynamicTriggerArgs, RegisterJobArgs
from tasks.events import DeliverEventArgs, InvokeDispatcherArgs
from tasks.github import GitHubAppInstallationDeletedArgs, GitHubPushArgs
from tasks.oauth import RefreshOAuthTokenArgs
from tasks.organizations import OrganizationCreatedArgs
from tasks.runs import (
    PerformRunExecutionArgs,
    PerformTaskOperationArgs,
    RunFinishedArgs,
    StartQueuedRunsArgs,
    StartRunArgs,
)
from tasks.schedules import DeliverScheduledEventArgs, RegisterDynamicScheduleArgs
from tasks.schemas import (
    CronOptions,
    CronSchedule,
    DisplayProperty,
    DynamicSchedule,
    DynamicTrigger,
    DynamicTriggerMetadata,
    EventExample,
    EventRule,
    EventSpecification,
    IntegrationConfig,
    IntegrationMetadata,
    IntervalOptions,
    IntervalSchedule,
    JobMetadata,
    JobReference,
    QueueOptions,
    ScheduledPayload,
    ScheduledTriggerMetadata,
    SourceMetadata,
    StaticTriggerMetadata,
)
from tasks.sources import ActivateSourceArgs, DeliverHTTPSourceRequestArgs, RegisterSourceArgs
from tasks.vms import StopVMArgs
from workerqueue import JobArgs


class Example(NamedTuple):
    """Args with every field set, and others, such as those with only the required fields set."""

    full: JobArgs
    others: tuple[JobArgs, ...] = ()


SLACK = IntegrationConfig(
    id="slack",
    metadata=IntegrationMetadata(id="slack", name="Slack", instructions="Install the app."),
    auth_source="HOSTED",
)
GITHUB = IntegrationConfig(id="github", metadata=IntegrationMetadata(id="github", name="GitHub"), auth_source="LOCAL")

JOB_WITH_EVERYTHING = JobMetadata(
    id="welcome-user",
    name="Welcome a user",
    version="1.2.0",
    event=EventSpecification(
        name="user.created",
        title="User created",
        source="trigger.dev",
        icon="user",
        filter={"user": {"plan": ["pro", "team"]}},
        properties=[DisplayProperty(label="Plan", text="pro", url="https://example.com/plans")],
        schema={"type": "object"},
        examples=[EventExample(id="ada", name="Ada", icon="star", payload={"user": {"plan": "pro"}})],
    ),
    trigger=StaticTriggerMetadata(
        title="On user.created",
        properties=[DisplayProperty(label="Source", text="trigger.dev")],
        rule=EventRule(
            event="user.created",
            source="trigger.dev",
            payload={"user": {"plan": ["pro", "team"], "age": [18, 19.5], "active": [True]}},
            context={"region": ["eu"]},
        ),
    ),
    integrations={"slack": SLACK, "github": GITHUB},
    internal=True,
    queue=QueueOptions(name="welcome", max_concurrent=5),
    start_position="latest",
    enabled=True,
    preprocess_runs=True,
)

JOB_WITH_THE_LEAST = JobMetadata(
    id="nightly",
    name="Nightly",
    version="1",
    event=EventSpecification(name="nightly", title="Nightly", source="trigger.dev", icon="clock"),
    trigger=ScheduledTriggerMetadata(
        schedule=CronSchedule(options=CronOptions(cron="0 3 * * *"), metadata={"team": "data"})
    ),
    integrations={},
    start_position="initial",
    enabled=False,
    preprocess_runs=False,
)

JOB_BY_INTERVAL = JOB_WITH_THE_LEAST.model_copy(
    update={
        "trigger": ScheduledTriggerMetadata(schedule=IntervalSchedule(options=IntervalOptions(seconds=60))),
        "queue": "nightly",
    }
)

JOB_BY_DYNAMIC_TRIGGER = JOB_WITH_THE_LEAST.model_copy(
    update={"trigger": DynamicTriggerMetadata(id="user-repositories")}
)

JOBS = [JobReference(id="welcome-user", version="1.2.0"), JobReference(id="nightly", version="1")]
NOON = datetime(2023, 6, 19, 12, tzinfo=UTC)

EXAMPLES: dict[str, Example] = {
    "startRun": Example(StartRunArgs(id="run_1")),
    "performRunExecution": Example(PerformRunExecutionArgs(id="execution_1")),
    "performTaskOperation": Example(PerformTaskOperationArgs(id="task_1")),
    "startQueuedRuns": Example(StartQueuedRunsArgs(id="queue_1")),
    "runFinished": Example(RunFinishedArgs(id="run_1")),
    "deliverEvent": Example(DeliverEventArgs(id="event_1")),
    "events.invokeDispatcher": Example(InvokeDispatcherArgs(id="dispatcher_1", event_record_id="event_1")),
    "events.deliverScheduled": Example(
        DeliverScheduledEventArgs(
            id="schedule_1",
            payload=ScheduledPayload(ts=NOON, last_timestamp=datetime(2023, 6, 19, 11, 59, 30, 250000, UTC)),
        ),
        (DeliverScheduledEventArgs(id="schedule_1", payload=ScheduledPayload(ts=NOON)),),
    ),
    "connectionCreated": Example(ConnectionCreatedArgs(id="connection_1")),
    "missingConnectionCreated": Example(MissingConnectionCreatedArgs(id="missing_1")),
    "registerJob": Example(
        RegisterJobArgs(endpoint_id="endpoint_1", job=JOB_WITH_EVERYTHING),
        tuple(
            RegisterJobArgs(endpoint_id="endpoint_1", job=job)
            for job in (JOB_WITH_THE_LEAST, JOB_BY_INTERVAL, JOB_BY_DYNAMIC_TRIGGER)
        ),
    ),
    "registerSource": Example(
        RegisterSourceArgs(
            endpoint_id="endpoint_1",
            source=SourceMetadata(
                channel="HTTP",
                integration=GITHUB,
                key="github.issues",
                params={"repository": "ada/engine", "limits": [1, None]},
                events=["issues", "pull_request"],
            ),
        ),
        (
            RegisterSourceArgs(
                endpoint_id="endpoint_1",
                source=SourceMetadata(channel="SQS", integration=SLACK, key="slack", events=[]),
            ),
        ),
    ),
    "registerDynamicTrigger": Example(
        RegisterDynamicTriggerArgs(
            endpoint_id="endpoint_1", dynamic_trigger=DynamicTrigger(id="user-repositories", jobs=JOBS)
        )
    ),
    "registerDynamicSchedule": Example(
        RegisterDynamicScheduleArgs(
            endpoint_id="endpoint_1", dynamic_schedule=DynamicSchedule(id="user-reports", jobs=JOBS)
        )
    ),
    "activateSource": Example(
        ActivateSourceArgs(id="source_1", orphaned_events=["push"]), (ActivateSourceArgs(id="source_1"),)
    ),
    "deliverHttpSourceRequest": Example(DeliverHTTPSourceRequestArgs(id="request_1")),
    "scheduleEmail": Example(
        ScheduleEmailArgs(to="ada@example.com", subject="Welcome", html="<p>Hello</p>", text="Hello")
    ),
    "startInitialProjectDeployment": Example(StartInitialProjectDeploymentArgs(id="project_1")),
    "stopVM": Example(StopVMArgs(id="vm_1")),
    "organizationCreated": Example(OrganizationCreatedArgs(id="organization_1")),
    "githubPush": Example(GitHubPushArgs(branch="main", commit_sha="8bc4dce", repository="ada/engine")),
    "githubAppInstallationDeleted": Example(GitHubAppInstallationDeletedArgs(id="installation_1")),
    "indexEndpoint": Example(
        IndexEndpointArgs(
            id="endpoint_1", source="HOOK", source_data={"commit": "8bc4dce", "files": []}, reason="push"
        ),
        (IndexEndpointArgs(id="endpoint_1"),),
    ),
    "refreshOAuthToken": Example(RefreshOAuthTokenArgs(organization_id="organization_1", connection_id="connection_1")),
}
