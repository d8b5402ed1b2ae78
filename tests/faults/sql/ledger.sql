-- The harness's own tables, and the audit of every change of state: it exists here and nowhere else.
create schema faults;

create table faults.business (token text primary key);
create table faults.exact (job bigint not null, lease bigint not null);
create table faults.effect (job bigint not null, lease bigint not null, attempt integer not null, at timestamptz not null);

create table faults.audit (
    seq         bigint generated always as identity,
    xact        xid8 not null default pg_current_xact_id(),
    at          timestamptz not null default clock_timestamp(),
    writer      text not null default current_setting('application_name'),
    operation   text not null,
    job         bigint not null,
    old_state   text,
    new_state   text,
    old_lease   bigint,
    new_lease   bigint,
    old_client  integer,
    new_client  integer,
    old_attempt integer,
    new_attempt integer,
    max_attempts integer,
    scheduled_at timestamptz,
    lost        boolean not null default false    -- whether it says that the client was lost
);

create function faults.tells_of_loss(errors jsonb, before jsonb) returns boolean language sql as $$
    select coalesce(errors -> -1 ->> 'type' = 'ClientLost'
                    and jsonb_array_length(errors) > coalesce(jsonb_array_length(before), 0), false)
$$;

-- What waits for its turn in a dynamic queue is `pending` to everybody else.
create function faults.public_state(state workerqueue.job_state) returns text language sql as $$
    select case state when 'waiting' then 'pending' else state::text end
$$;

create function faults.note_live() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into faults.audit (operation, job, new_state, new_attempt, max_attempts, scheduled_at)
        values ('insert', new.id, faults.public_state(new.state), new.attempt, new.max_attempts, new.scheduled_at);
    elsif tg_op = 'UPDATE' and old.state = new.state and old.lease is not distinct from new.lease then
        return null;    -- a run has saved something
    elsif tg_op = 'UPDATE' then
        insert into faults.audit (operation, job, old_state, new_state, old_lease, new_lease, old_client, new_client,
                                  old_attempt, new_attempt, max_attempts, scheduled_at, lost)
        values ('update', new.id, faults.public_state(old.state), faults.public_state(new.state), old.lease, new.lease, old.client, new.client,
                old.attempt, new.attempt, new.max_attempts,
                case when old.state in ('scheduled', 'retryable') then old.scheduled_at else new.scheduled_at end,
                faults.tells_of_loss(new.errors, old.errors));
    else
        insert into faults.audit (operation, job, old_state, old_lease, old_client, old_attempt, new_attempt,
                                  max_attempts, scheduled_at)
        values ('delete', old.id, faults.public_state(old.state), old.lease, old.client, old.attempt, old.attempt, old.max_attempts,
                old.scheduled_at);
    end if;
    return null;
end $$;

create function faults.note_final() returns trigger language plpgsql as $$
begin
    insert into faults.audit (operation, job, new_state, new_client, new_attempt, max_attempts, lost)
    values ('final', new.id, new.state, new.client, new.attempt, new.max_attempts,
            coalesce(new.errors -> -1 ->> 'type' = 'ClientLost' and new.state = 'discarded', false));
    return null;
end $$;

create trigger note after insert or update or delete on workerqueue.job
    for each row execute function faults.note_live();
create trigger note after insert on workerqueue.job_finalized
    for each row execute function faults.note_final();

-- What the processes noted in their files, and what the nemesis did.
create table faults.intent (token text not null, how text not null);
create table faults.ack (token text not null, job bigint not null);
create table faults.outcome (
    job bigint not null, lease bigint not null, state text not null, accepted boolean not null, at timestamptz not null
);
create table faults.external (job bigint not null, lease bigint not null, at timestamptz not null);
create table faults.strike (kind text not null, pid integer, at timestamptz not null, until timestamptz not null);
create table faults.transition (source text, target text not null);

-- What the profile's rules allow at once, of all jobs or of a kind, or of each of its parts; none where it has no rules.
create table faults.rule (
    name text not null, kind text, by_part boolean not null, most integer not null, is_strict boolean not null
);
