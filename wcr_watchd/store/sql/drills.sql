-- Drills of alarms.

-- name: keep_drill
INSERT INTO drill (number, started_at, data) VALUES ($1, $2, $3)
ON CONFLICT (number) DO UPDATE SET data = excluded.data;

-- name: drills
-- Those that began from $1 on.
SELECT data FROM drill WHERE started_at >= $1 ORDER BY started_at, number;
