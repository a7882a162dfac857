-- The times of a row are of the database's clock; oldest is the oldest transaction that
-- is under way. Where there is no row, the version is 0.
select clock_timestamp() as now,
	pg_snapshot_xmin(pg_current_snapshot())::text::bigint as oldest,
	coalesce(key, ''),
	least(coalesce(version, 0), pg_snapshot_xmax(pg_current_snapshot())::text::bigint),
	coalesce(record, '{}'),
	coalesce(memory, '{}')
from 
