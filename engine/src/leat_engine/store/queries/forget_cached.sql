-- forget_cached: results that may not be taken any more, and buckets that have been full for a day.
with idle as (
  delete from leat.bucket where greatest(line, spent) < extract(epoch from now()) - 86400
)
delete from leat.cache where expires_at <= now();
