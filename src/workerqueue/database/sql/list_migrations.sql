-- Tell which migrations are applied.
--
-- Called by: Migrations.
select version, applied_at
from {schema}.migration
