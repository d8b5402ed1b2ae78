-- Find the job that has a key, or was the last to have it.
--
--   $1 the key
-- Stands on: job_key's primary key.
-- Called by: client.jobs, where a job is named by its key.
select job from {schema}.job_key where key = $1
