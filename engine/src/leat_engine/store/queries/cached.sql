-- cached: a result that may be taken.  $1 namespace  $2 key
select output from leat.cache where namespace = $1 and key = $2 and expires_at > now();
