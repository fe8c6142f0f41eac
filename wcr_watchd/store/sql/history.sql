-- Observations and their rollups. 900000 ms are a slot (15 min), 3600000 an hour.

-- name: sources
SELECT id, check_name, location, seen_at FROM source;

-- name: sources_of_check
SELECT id, location FROM source WHERE check_name = $1;

-- name: add_source
INSERT INTO source (id, check_name, location, seen_at) VALUES ($1, $2, $3, $4);

-- name: series
SELECT id, name, labels, seen_at FROM series;

-- name: series_id
SELECT id FROM series WHERE name = $1 AND labels = $2;

-- name: add_series
INSERT INTO series (id, name, labels, seen_at) VALUES ($1, $2, $3, $4);

-- name: series_seen
UPDATE series SET seen_at = $2 WHERE id = $1;

-- name: source_seen
UPDATE source SET seen_at = $2 WHERE id = $1;

-- name: add_observations
INSERT INTO recent (since, sources, body) VALUES ($1, $2, $3);

-- name: slots
-- A source's slots from $2 to before $3, newest first, at most $4. They are looked up one by one, because the key
-- begins with the slot.
WITH RECURSIVE slots (slot) AS (
    SELECT min(($3 - 1) / 900000 * 900000, (SELECT max(slot) FROM observation))
    UNION ALL
    SELECT slot - 900000 FROM slots
    WHERE slot > max($2 / 900000 * 900000, (SELECT min(slot) FROM observation))
)
SELECT o.body FROM slots CROSS JOIN observation o
WHERE o.slot = slots.slot AND o.source_id = $1 AND o.slot >= $2 / 900000 * 900000
ORDER BY o.slot DESC LIMIT $4;

-- name: recent_sources
SELECT id, since, sources FROM recent ORDER BY id;

-- name: recent_body
SELECT body FROM recent WHERE id = $1;

-- name: recent_bodies
SELECT body FROM recent WHERE id <= $1 ORDER BY id;

-- name: sources_in_slot
SELECT source_id FROM observation WHERE slot = $1;

-- name: slot
SELECT body FROM observation WHERE slot = $1 AND source_id = $2;

-- name: newest_slot
SELECT body FROM observation WHERE slot = (SELECT max(slot) FROM observation);

-- name: keep_slot
INSERT INTO observation (slot, source_id, body) VALUES ($1, $2, $3)
ON CONFLICT (slot, source_id) DO UPDATE SET body = excluded.body;

-- name: drop_recent
DELETE FROM recent WHERE id <= $1;

-- name: first_slot
SELECT min(slot) FROM observation;

-- name: first_rollup
SELECT min(start) FROM rollup WHERE width = $1;

-- name: rollups
-- Rows of a source by their start, from $3 to $4, in steps of $5 (the span of one row).
WITH RECURSIVE spans (start) AS (
    SELECT max($3, (SELECT min(start) FROM rollup WHERE width = $1))
    UNION ALL
    SELECT start + $5 FROM spans
    WHERE start + $5 <= $4 AND start < (SELECT max(start) FROM rollup WHERE width = $1)
)
SELECT r.start, r.body
FROM spans CROSS JOIN rollup r
WHERE r.width = $1 AND r.start = spans.start AND r.source_id = $2
ORDER BY r.start;

-- name: due
SELECT start, source_id FROM rollup_due WHERE width = $1 AND start <= $2 ORDER BY start, source_id LIMIT $3;

-- name: oldest_due
SELECT min(start) FROM rollup_due WHERE width = $1;

-- name: add_due
INSERT INTO rollup_due (width, start, source_id) VALUES ($1, $2, $3)
ON CONFLICT (width, start, source_id) DO NOTHING;

-- name: drop_due
DELETE FROM rollup_due WHERE width = $1 AND start = $2 AND source_id = $3;

-- name: slots_of_hour
SELECT body FROM observation
WHERE slot IN ($2, $2 + 900000, $2 + 1800000, $2 + 2700000) AND source_id = $1;

-- name: hour_row
-- The row of five-minute buckets of an hour.
SELECT body FROM rollup WHERE width = 300000 AND start = $1 AND source_id = $2;

-- name: keep_rollup
INSERT INTO rollup (width, start, source_id, body) VALUES ($1, $2, $3, $4)
ON CONFLICT (width, start, source_id) DO UPDATE SET body = excluded.body;

-- name: delete_old_observations
-- One slot at a time.
DELETE FROM observation WHERE slot = (SELECT min(slot) FROM observation) AND slot < $1;

-- name: delete_old_five_minutes
DELETE FROM rollup
WHERE width = 300000 AND start = (SELECT min(start) FROM rollup WHERE width = 300000) AND start < $1;

-- name: delete_old_hours
DELETE FROM rollup
WHERE width = 3600000 AND start = (SELECT min(start) FROM rollup WHERE width = 3600000) AND start < $1;

-- name: unused
-- Whether there is a series or source that has not been seen since $1.
SELECT 1 FROM series WHERE seen_at < $1 UNION SELECT 1 FROM source WHERE seen_at < $1 LIMIT 1;

-- name: delete_old_series
DELETE FROM series WHERE seen_at < $1;

-- name: delete_old_sources
DELETE FROM source WHERE seen_at < $1;
