-- Save how far a run is, and what its worker would have at its next attempt; answers its id if the run is current.
--
--   $1 id  $2 lease  $3 progress (JSON) or null  $4 checkpoint (JSON) or null: what is null stays as it is
-- Stands on: job's primary key.
-- Called by: job.progress, job.checkpoint.
update {schema}.job
set progress = coalesce($3::text::jsonb, progress), checkpoint = coalesce($4::text::jsonb, checkpoint)
where id = $1::bigint and lease = $2::bigint
returning id
