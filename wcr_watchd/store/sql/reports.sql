-- name: keep_report
INSERT INTO report (id, name, kind, audience, scheduled, title, summary, made_at, since, until, body)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (id) DO UPDATE SET body = excluded.body;

-- name: reports
-- $1 narrows to a name unless NULL.
SELECT id, name, kind, audience, scheduled, title, summary, made_at, since, until FROM report
WHERE $1 IS NULL OR name = $1 ORDER BY id DESC LIMIT $2;

-- name: report
SELECT id, name, kind, audience, scheduled, title, summary, made_at, since, until, body FROM report WHERE id = $1;

-- name: reports_of_months
-- The monthly reports of this name for these readers that begin from $3 to before $4, as they were written: all that
-- came on schedule, and the last one that somebody asked for.
SELECT scheduled, body FROM report
WHERE name = $1 AND audience = $2 AND kind = 'monthly' AND since >= $3 AND since < $4
  AND (scheduled = 1 OR id = (SELECT max(id) FROM report
       WHERE name = $1 AND audience = $2 AND kind = 'monthly' AND scheduled = 0 AND since < $4))
ORDER BY id;

-- name: delete_old_reports
-- The newest one stays, so that its number is never given out again.
DELETE FROM report WHERE made_at < $1 AND id < (SELECT max(id) FROM report);
