-- The one table of package postgres, in the first schema of the search_path. A role
-- that must not create tables finds it made, and needs SELECT, INSERT, UPDATE and
-- DELETE on it. Records of another form will need a table of another name.
--
-- It is unlogged: holds need not outlive a crash or a failover of the server, after
-- which replicas report again what the server asked of them.

do $$
begin
	if to_regclass('holdoff') is not null then
		return;
	end if;
	perform pg_advisory_xact_lock(7236834215); -- many replicas may start at once

	create unlogged table if not exists holdoff (
		namespace text collate "C" not null,
		key       text collate "C" not null, -- and the scope of a key, after a space
		version   bigint not null check (version > 0), -- the transaction that last changed what replicas obey
		record    jsonb not null check (octet_length(record::text) <= 16384),
		memory    jsonb not null check (octet_length(memory::text) <= 16384),
		expires   timestamptz not null,
		primary key (namespace, key)
	);
	create index if not exists holdoff_version on holdoff (namespace, version);
end
$$;
