-- What the engine knows and what is owed: states, incidents, events and the outbox.

-- name: keep_state
-- Remember a check's state.
INSERT INTO check_state (check_name, data) VALUES ($1, $2)
ON CONFLICT (check_name) DO UPDATE SET data = excluded.data;

-- name: forget_state
DELETE FROM check_state WHERE check_name = $1;

-- name: states
SELECT data FROM check_state ORDER BY check_name;

-- name: keep_memory
-- What a check's probe keeps for its next run.
INSERT INTO check_memory (check_name, data) VALUES ($1, $2)
ON CONFLICT (check_name) DO UPDATE SET data = excluded.data;

-- name: forget_memory
DELETE FROM check_memory WHERE check_name = $1;

-- name: memories
SELECT check_name, data FROM check_memory;

-- name: keep_incident
INSERT INTO incident (id, check_name, subject, severity, state, opened_at, resolved_at, data)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (id) DO UPDATE SET
    subject = excluded.subject, severity = excluded.severity, state = excluded.state,
    opened_at = excluded.opened_at, resolved_at = excluded.resolved_at, data = excluded.data;

-- name: incident
SELECT data FROM incident WHERE id = $1;

-- name: incidents
-- Incidents that were open at any time since $3, newest first. $1 narrows to a check, $5 to numbers below, unless NULL.
SELECT data FROM incident
WHERE ($1 IS NULL OR check_name = $1)
  AND (resolved_at IS NULL OR ($2 = 0 AND resolved_at >= $3))
  AND ($5 IS NULL OR id < $5)
ORDER BY id DESC LIMIT $4;

-- name: unresolved_incidents
SELECT data FROM incident WHERE resolved_at IS NULL ORDER BY id;

-- name: last_ended
-- The incidents that ended last, oldest first.
SELECT data FROM (SELECT data, resolved_at FROM incident WHERE resolved_at IS NOT NULL ORDER BY resolved_at DESC LIMIT $1)
ORDER BY resolved_at;

-- name: keep_silence
INSERT INTO silence (id, ends_at, data) VALUES ($1, $2, $3)
ON CONFLICT (id) DO UPDATE SET ends_at = excluded.ends_at, data = excluded.data;

-- name: silences
SELECT data FROM silence ORDER BY ends_at, id;

-- name: delete_old_silences
DELETE FROM silence
WHERE ends_at < $2 OR (ends_at < $1 AND NOT coalesce(json_extract(data, '$.maintenance'), 0));

-- name: last_incident
SELECT max(id) FROM incident;

-- name: keep_event
INSERT INTO event (incident, sequence, kind, at, severity, summary, reason, by_whom)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (incident, sequence) DO UPDATE SET
    kind = excluded.kind, at = excluded.at, severity = excluded.severity, summary = excluded.summary,
    reason = excluded.reason, by_whom = excluded.by_whom;

-- name: events
SELECT incident, sequence, kind, at, severity, summary, reason, by_whom
FROM event WHERE incident = $1 ORDER BY sequence;

-- name: owe
-- A notification that is known already keeps its row: storing a batch twice must not tell anybody twice.
INSERT INTO outbox (id, incident, channel, contact, address, created_at, state, attempts, next_attempt_at, last_error,
                    delivered_at, receipt, fell_back, data)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
ON CONFLICT (id) DO NOTHING;

-- name: keep_delivery
INSERT INTO outbox (id, incident, channel, contact, address, created_at, state, attempts, next_attempt_at, last_error,
                    delivered_at, receipt, fell_back, data)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
ON CONFLICT (id) DO UPDATE SET
    state = excluded.state, attempts = excluded.attempts, next_attempt_at = excluded.next_attempt_at,
    last_error = excluded.last_error, delivered_at = excluded.delivered_at, receipt = excluded.receipt,
    fell_back = excluded.fell_back;

-- name: pending_deliveries
-- In the order in which they came to be owed, which a clock that was set back does not change.
SELECT data, state, attempts, next_attempt_at, last_error, delivered_at, receipt, fell_back
FROM outbox WHERE state = 'pending' ORDER BY rowid;

-- name: deliveries
-- $1 narrows to an incident unless NULL; $2 is '|pending|failed|' or empty for any state; $3 to $5 are a recipient
-- unless NULL.
SELECT data, state, attempts, next_attempt_at, last_error, delivered_at, receipt, fell_back
FROM outbox
WHERE ($1 IS NULL OR incident = $1)
  AND ($2 = '' OR $2 LIKE '%|' || state || '|%')
  AND ($3 IS NULL OR (channel = $3 AND contact = $4 AND address = $5))
  AND created_at >= $6
ORDER BY created_at DESC, id DESC LIMIT $7;

-- name: last_activity
-- The newest time of anything stored besides observations.
SELECT max(at) FROM (
    SELECT max(at) AS at FROM event
    UNION ALL SELECT max(delivered_at) FROM outbox
    UNION ALL SELECT max(created_at) FROM outbox
) AS times;

-- name: old_incidents
-- The newest incident stays, so that its number is never given out again.
SELECT id FROM incident
WHERE resolved_at < $1 AND id < (SELECT max(id) FROM incident) ORDER BY resolved_at LIMIT $2;

-- name: delete_incident_events
DELETE FROM event WHERE incident = $1;

-- name: delete_incident_outbox
DELETE FROM outbox WHERE incident = $1;

-- name: delete_incident
DELETE FROM incident WHERE id = $1;
