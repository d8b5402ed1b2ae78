-- Insert one job into the library's own table, as a producer does that writes plain SQL: nobody is told.
--
--   $1 kind  $2 args (JSON)
-- Called by: the insert benchmark, as what one caller is held against; the latency benchmark, whose wake-up is lost.
insert into {schema}.job (kind, args)
values ($1, $2::text::jsonb)
returning id
