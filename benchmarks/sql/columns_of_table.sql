-- List the columns of a table that can be written.
--
--   $1 the table, as regclass prints it
-- Called by: copy_row.
select quote_ident(attname) as name
from pg_attribute
where attrelid = $1::text::regclass and attnum > 0 and not attisdropped and attgenerated = ''
order by attnum
