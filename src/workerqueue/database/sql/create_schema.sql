-- Make the schema.
--
-- Called by: Migrations.
create schema if not exists {schema}
