"""The trigger.dev task catalog: a small real backend whose 24 kinds of jobs show how to use workerqueue.

A file per subject holds the args classes beside the workers; `config/tasks.toml` has a row for each kind.
"""

from tasks import emails, endpoints, events, executions, finished_runs, runs
from tasks.connections import ConnectionCreatedArgs, MissingConnectionCreatedArgs
from tasks.deployments import StartInitialProjectDeploymentArgs
from tasks.github import GitHubAppInstallationDeletedArgs, GitHubPushArgs
from tasks.oauth import RefreshOAuthTokenArgs
from tasks.organizations import OrganizationCreatedArgs
from tasks.registry import workers
from tasks.schedules import DeliverScheduledEventArgs, RegisterDynamicScheduleArgs
from tasks.sources import ActivateSourceArgs, DeliverHTTPSourceRequestArgs, RegisterSourceArgs
from tasks.vms import StopVMArgs

__all__ = ["emails", "endpoints", "events", "executions", "finished_runs", "runs", "workers"]

# Known here, so that they can be inserted and are checked; not worked here yet.
workers.declare(
    ActivateSourceArgs,
    ConnectionCreatedArgs,
    DeliverHTTPSourceRequestArgs,
    DeliverScheduledEventArgs,
    GitHubAppInstallationDeletedArgs,
    GitHubPushArgs,
    MissingConnectionCreatedArgs,
    OrganizationCreatedArgs,
    RefreshOAuthTokenArgs,
    RegisterDynamicScheduleArgs,
    RegisterSourceArgs,
    StartInitialProjectDeploymentArgs,
    StopVMArgs,
    endpoints.RegisterDynamicTriggerArgs,
    endpoints.RegisterJobArgs,
    runs.PerformTaskOperationArgs,
    runs.StartQueuedRunsArgs,
)
