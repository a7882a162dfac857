-- A report leaves memory as it is ($6): another version of this package may have written
-- what this one does not read. A version is that of a transaction that has begun, whoever
-- wrote the row. Where it is new, the other replicas are notified. A row stays for two
-- minutes when nothing in it matters any more.
insert into holdoff as t (namespace, key, version, record, memory, expires)
values ($1, $2, pg_current_xact_id()::text::bigint, $3, $4, $5::timestamptz + interval '2 min')
on conflict (namespace, key) do update set
	record = excluded.record,
	memory = case when $6 then excluded.memory else t.memory end,
	version = case when $7 then excluded.version else least(t.version, excluded.version) end,
	expires = excluded.expires
returning version, case when $7 then pg_notify($8, $9)::text end
