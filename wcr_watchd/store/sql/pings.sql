-- Jobs that report by themselves, and their signals.

-- name: keep_heartbeat
INSERT INTO heartbeat (check_name, job, data) VALUES ($1, $2, $3)
ON CONFLICT (check_name, job) DO UPDATE SET data = excluded.data;

-- name: forget_heartbeats
DELETE FROM heartbeat WHERE check_name = $1;

-- name: heartbeats
SELECT data FROM heartbeat;

-- name: keep_ping
INSERT INTO ping (check_name, job, number, at, data, body) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (check_name, job, number) DO UPDATE SET at = excluded.at, data = excluded.data, body = excluded.body;

-- name: forget_old_pings
-- Those of a job with a number up to $3.
DELETE FROM ping WHERE check_name = $1 AND job = $2 AND number <= $3;

-- name: forget_pings
DELETE FROM ping WHERE check_name = $1;

-- name: pings
SELECT data, body FROM ping WHERE check_name = $1 ORDER BY at DESC, number DESC LIMIT $2;
