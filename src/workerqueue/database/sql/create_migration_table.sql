-- Make the table that says which migrations are applied.
--
-- Called by: Migrations, before every migration.
create table if not exists {schema}.migration (
    version    integer primary key,
    name       text not null,
    applied_at timestamptz not null default statement_timestamp()
)
