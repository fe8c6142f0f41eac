-- Finding incidents, and what was written about them.

-- name: find_incidents
-- Newest first, those with a number below $1. $2 is a JSON list of the checks that are meant, or NULL; $3 is
-- '|open|resolved|', or empty for any state; $4 the least severity at worst; $5 a text in small letters that is part of
-- check, subject or summary; from $6 to before $7 it was open at some time.
SELECT data FROM incident
WHERE id < $1
  AND ($2 IS NULL OR check_name IN (SELECT value FROM json_each($2)))
  AND ($3 = '' OR instr($3, '|' || state || '|') > 0)
  AND json_extract(data, '$.peak') >= $4
  AND ($5 = '' OR instr(lower(check_name || ' ' || subject || ' ' || json_extract(data, '$.summary')), $5) > 0)
  AND opened_at < $7 AND (resolved_at IS NULL OR resolved_at >= $6)
ORDER BY id DESC LIMIT $8;

-- name: keep_review
INSERT INTO review (incident, data) VALUES ($1, $2)
ON CONFLICT (incident) DO UPDATE SET data = excluded.data;

-- name: review
SELECT data FROM review WHERE incident = $1;

-- name: reviews
SELECT data FROM review ORDER BY incident;

-- name: delete_review
DELETE FROM review WHERE incident = $1;
