-- The catalog's own tables, as far as the kinds that work need them; safe to run again.
-- Rows are locked in the order run_queues, runs, run_executions.

create schema if not exists catalog;


-- Who: an organization has projects, a project has environments, an environment has accounts.

create table if not exists catalog.organizations (
    id         text primary key,
    slug       text not null unique,
    title      text not null,
    created_at timestamptz not null default now()
);

create table if not exists catalog.projects (
    id           text primary key,
    organization text not null references catalog.organizations,
    slug         text not null,
    created_at   timestamptz not null default now(),
    unique (organization, slug)
);

create table if not exists catalog.environments (
    id         text primary key,
    project    text not null references catalog.projects,
    slug       text not null,
    type       text not null check (type in ('PRODUCTION', 'STAGING', 'DEVELOPMENT', 'PREVIEW')),
    api_key    text not null unique,
    created_at timestamptz not null default now(),
    unique (project, slug)
);

create table if not exists catalog.external_accounts (
    id          text primary key,
    environment text not null references catalog.environments,
    identifier  text not null,
    metadata    jsonb,
    unique (environment, identifier)
);


-- Where: the user's endpoints, and what they announced.

create table if not exists catalog.endpoints (
    id          text primary key,
    environment text not null references catalog.environments,
    slug        text not null,
    url         text not null,
    created_at  timestamptz not null default now(),
    unique (environment, slug)
);

create table if not exists catalog.endpoint_indexes (
    id          text primary key,
    endpoint    text not null references catalog.endpoints,
    stats       jsonb not null,
    data        jsonb not null,
    source      text not null check (source in ('MANUAL', 'API', 'INTERNAL', 'HOOK')),
    source_data jsonb,
    reason      text,
    created_at  timestamptz not null default now()
);


-- Credentials. The account of the organization's own connections is 'DEVELOPER'.

create table if not exists catalog.integrations (
    id           text primary key,
    organization text not null references catalog.organizations,
    slug         text not null,
    auth_source  text not null check (auth_source in ('HOSTED', 'LOCAL')),
    scopes       text[] not null default '{}',
    unique (organization, slug)
);

create table if not exists catalog.connections (
    id            text primary key,
    integration   text not null references catalog.integrations,
    type          text not null check (type in ('DEVELOPER', 'EXTERNAL')),
    account       text not null default 'DEVELOPER',
    access_token  text not null,
    refresh_token text,
    expires_at    timestamptz,
    created_at    timestamptz not null default now(),
    unique (integration, type, account)
);

create table if not exists catalog.missing_connections (
    id          text primary key,
    integration text not null references catalog.integrations,
    type        text not null check (type in ('DEVELOPER', 'EXTERNAL')),
    account     text not null default 'DEVELOPER',
    resolved    boolean not null default false,
    created_at  timestamptz not null default now(),
    unique (integration, type, account)
);


-- What can run: jobs, their versions, and the queues that limit how many runs are under way.

create table if not exists catalog.jobs (
    id         text primary key,
    project    text not null references catalog.projects,
    slug       text not null,
    title      text not null,
    created_at timestamptz not null default now(),
    unique (project, slug)
);

create table if not exists catalog.run_queues (
    id          text primary key,
    environment text not null references catalog.environments,
    name        text not null,
    job_count   integer not null default 0 check (job_count >= 0),
    max_jobs    integer not null check (max_jobs > 0),
    unique (environment, name)
);

create table if not exists catalog.job_versions (
    id          text primary key,
    job         text not null references catalog.jobs,
    version     text not null,
    environment text not null references catalog.environments,
    endpoint    text not null references catalog.endpoints,
    queue       text not null references catalog.run_queues,
    event_spec  jsonb not null,
    preprocess  boolean not null,
    created_at  timestamptz not null default now(),
    indexed_at  timestamptz not null default now(),
    unique (job, version, environment)
);

create table if not exists catalog.job_version_integrations (
    version     text not null references catalog.job_versions,
    key         text not null,
    integration text not null references catalog.integrations,
    primary key (version, key)
);


-- What starts it: events, and the dispatchers that wait for them.

create table if not exists catalog.dynamic_triggers (
    id       text primary key,
    endpoint text not null references catalog.endpoints,
    slug     text not null,
    unique (endpoint, slug)
);

create table if not exists catalog.dynamic_trigger_jobs (
    trigger text not null references catalog.dynamic_triggers,
    job     text not null references catalog.jobs,
    primary key (trigger, job)
);

create table if not exists catalog.events (
    id           text primary key,
    environment  text not null references catalog.environments,
    name         text not null,
    source       text not null,
    payload      jsonb not null,
    context      jsonb not null,
    account      text references catalog.external_accounts,
    is_test      boolean not null default false,
    created_at   timestamptz not null default now(),
    deliver_at   timestamptz not null default now(),
    delivered_at timestamptz
);

create table if not exists catalog.dispatchers (
    id             text primary key,
    environment    text not null references catalog.environments,
    event          text not null,
    source         text not null,
    payload_filter jsonb,
    context_filter jsonb,
    enabled        boolean not null default true,
    manual         boolean not null default false,
    target_type    text not null check (target_type in ('JOB_VERSION', 'DYNAMIC_TRIGGER')),
    target         text not null
);

create index if not exists dispatchers_event on catalog.dispatchers (environment, event, source);


-- What ran.

create table if not exists catalog.runs (
    id           text primary key,
    job          text not null references catalog.jobs,
    number       integer not null,
    version      text not null references catalog.job_versions,
    event        text not null references catalog.events,
    queue        text not null references catalog.run_queues,
    account      text references catalog.external_accounts,
    status       text not null default 'PENDING' check (status in (
        'PENDING', 'QUEUED', 'WAITING_ON_CONNECTIONS', 'PREPROCESSING', 'STARTED',
        'SUCCESS', 'FAILURE', 'ABORTED'
    )),
    properties   jsonb,
    output       jsonb,
    created_at   timestamptz not null default now(),
    queued_at    timestamptz,
    started_at   timestamptz,
    completed_at timestamptz,
    unique (version, event),
    unique (job, number)
);

create index if not exists runs_queued on catalog.runs (queue, queued_at) where status = 'QUEUED';

create table if not exists catalog.missing_connection_runs (
    missing_connection text not null references catalog.missing_connections,
    run                text not null references catalog.runs,
    primary key (missing_connection, run)
);

create table if not exists catalog.tasks (
    id              text primary key,
    run             text not null references catalog.runs,
    idempotency_key text not null,
    name            text not null,
    status          text not null check (status in ('PENDING', 'WAITING', 'RUNNING', 'COMPLETED', 'ERRORED')),
    noop            boolean not null default false,
    operation       text,
    params          jsonb,
    output          jsonb,
    created_at      timestamptz not null default now(),
    completed_at    timestamptz,
    unique (run, idempotency_key)
);

create table if not exists catalog.task_attempts (
    task   text not null references catalog.tasks,
    number integer not null,
    status text not null check (status in ('PENDING', 'STARTED', 'COMPLETED', 'ERRORED')),
    error  text,
    run_at timestamptz,
    primary key (task, number)
);

-- `job_id` is the background job that is to perform the execution: while it lives, nobody else ends it.
create table if not exists catalog.run_executions (
    id           text primary key,
    run          text not null references catalog.runs,
    reason       text not null check (reason in ('PREPROCESS', 'EXECUTE_JOB')),
    status       text not null default 'PENDING' check (status in ('PENDING', 'STARTED', 'SUCCESS', 'FAILURE')),
    retry_count  integer not null default 0,
    retry_limit  integer not null default 10,
    resume_task  text references catalog.tasks,
    job_id       bigint,
    error        text,
    created_at   timestamptz not null default now(),
    started_at   timestamptz,
    completed_at timestamptz
);

create index if not exists run_executions_run on catalog.run_executions (run);
