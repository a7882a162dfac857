-- A report leaves memory as it is ($7): another version of this package may have written
-- what this one does not read. A version is that of a transaction that has begun, whoever
-- wrote the row.
insert into holdoff as t (id, namespace, key, version, record, memory, expires)
values ($1, $2, $3, pg_current_xact_id()::text::bigint, $4, $5, $6)
on conflict (id) do update set
	record = excluded.record,
	memory = case when $7 then excluded.memory else t.memory end,
	version = case when $8 then excluded.version else least(t.version, excluded.version) end,
	expires = excluded.expires
returning version
