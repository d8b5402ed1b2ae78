-- Note that a migration has been taken back.
--
--   $1 its version
-- Called by: Migrations.down.
delete from {schema}.migration
where version = $1
