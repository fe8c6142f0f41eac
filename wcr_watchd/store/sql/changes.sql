-- Updates in progress and of the past, the log of modifications, and the facts it is made from.

-- name: keep_change
INSERT INTO change (id, at, is_open, data) VALUES ($1, $2, $3, $4)
ON CONFLICT (id) DO UPDATE SET at = excluded.at, is_open = excluded.is_open, data = excluded.data;

-- name: change
SELECT data FROM change WHERE id = $1;

-- name: changes
-- Those that are open or began at or after $1, newest first.
SELECT data FROM change WHERE is_open = 1 OR at >= $1 ORDER BY id DESC LIMIT $2;

-- name: last_change
SELECT max(id) FROM change;

-- name: delete_old_changes
-- The newest change stays, so that its number is never given out again.
DELETE FROM change WHERE is_open = 0 AND at < $1 AND id < (SELECT max(id) FROM change);

-- name: keep_modification
INSERT INTO modification (at, source, kind, name, was, became) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (at, source, kind, name) DO NOTHING;

-- name: modifications
-- From $1 until before $2, newest first.
SELECT at, source, kind, name, was, became FROM modification
WHERE at >= $1 AND at < $2 ORDER BY at DESC, source, kind, name LIMIT $3;

-- name: delete_old_modifications
-- Those from before $1, and what is more than the newest $2.
DELETE FROM modification
WHERE at < $1 OR at < (SELECT at FROM modification ORDER BY at DESC LIMIT 1 OFFSET $2);

-- name: keep_facts
INSERT INTO known_facts (check_name, data) VALUES ($1, $2)
ON CONFLICT (check_name) DO UPDATE SET data = excluded.data;

-- name: facts
SELECT data FROM known_facts;

-- name: forget_facts
DELETE FROM known_facts WHERE check_name = $1;
