-- Insert one job and notify, which is sent when this commits.
--
--   $1 kind  $2 args (JSON)  $3 the channel
-- Called by: BareQueue.insert_and_notify.
with inserted as (
    insert into {schema}.live (kind, args)
    values ($1, $2::text::jsonb)
    returning id
)
select id, pg_notify($3, '') from inserted
