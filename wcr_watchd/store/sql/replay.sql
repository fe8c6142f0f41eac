-- What a replay reads beside the daemon that writes.

-- name: span_of_observations
-- The first slot of raw observations, and the last.
SELECT min(slot), max(slot) FROM observation;

-- name: recent_all
SELECT body FROM recent ORDER BY id;

-- name: rollups_of_day
SELECT source_id, body FROM rollup WHERE width = 3600000 AND start = $1;

-- name: slots_between
-- Raw observations whose hour no row of five-minute buckets has; what is older than a day before the last one has.
SELECT slot, source_id, body FROM observation o
WHERE slot >= max($1, (SELECT coalesce(max(start), 0) FROM rollup WHERE width = 300000) - 86400000) AND slot < $2
  AND NOT EXISTS (SELECT 1 FROM rollup WHERE width = 300000 AND start = o.slot / 3600000 * 3600000 AND source_id = o.source_id);

-- name: hours_without_day
-- Hour rows from $1 to before $2, of sources that have no row of that day yet.
SELECT start, source_id, body FROM rollup
WHERE width = 300000 AND start >= $1 AND start < $2
  AND source_id NOT IN (SELECT source_id FROM rollup WHERE width = 3600000 AND start = $1);

-- name: due_all
SELECT width, start, source_id FROM rollup_due;

-- name: sources_in_hour
SELECT DISTINCT source_id FROM observation WHERE slot IN ($1, $1 + 900000, $1 + 1800000, $1 + 2700000);

-- name: acknowledgements
SELECT e.at, i.check_name, i.subject, e.by_whom FROM event e JOIN incident i ON i.id = e.incident
WHERE e.kind = 'acknowledged' AND e.at >= $1 AND e.at < $2 ORDER BY e.at;

-- name: incidents_between
-- Incidents that were open at any time from $1 to before $2, oldest first.
SELECT data FROM incident WHERE opened_at < $2 AND (resolved_at IS NULL OR resolved_at >= $1) ORDER BY id;

-- name: owed_between
-- What was owed to whom because of an incident, without what the dispatcher made of it (fallbacks, digests).
SELECT incident, channel, contact, created_at, state, json_extract(data, '$.event') FROM outbox
WHERE created_at >= $1 AND created_at < $2 AND incident > 0 AND instr(id, ':fallback:') = 0
  AND json_extract(data, '$.event') <> 'digest'
ORDER BY created_at, id;
