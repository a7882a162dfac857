-- The times of a row are of the database's clock; oldest is the oldest transaction that
-- is under way.
select clock_timestamp() as now,
	pg_snapshot_xmin(pg_current_snapshot())::text::bigint as oldest,
	id,
	coalesce(key, ''),
	least(coalesce(version, 0), pg_snapshot_xmax(pg_current_snapshot())::text::bigint),
	record,
	memory
from 
