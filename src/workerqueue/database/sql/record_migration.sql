-- Note that a migration has been applied.
--
--   $1 its version  $2 its name
-- Called by: Migrations.up.
insert into {schema}.migration (version, name)
values ($1, $2)
