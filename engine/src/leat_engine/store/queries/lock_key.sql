-- lock_key: one at a time asks for, gives or frees slots of a key; until the transaction's end.  $1 namespace  $2 key
-- A statement of its own, so that the next one sees what the one before it has written.
select pg_advisory_xact_lock(hashtextextended($1::text || chr(31) || $2::text, 7));
