-- Sessions of browsers, and the record of who did what.

-- name: keep_session
INSERT INTO session (digest, data) VALUES ($1, $2)
ON CONFLICT (digest) DO UPDATE SET data = excluded.data;

-- name: forget_session
DELETE FROM session WHERE digest = $1;

-- name: sessions
SELECT data FROM session;

-- name: keep_own_password
INSERT INTO own_password (name, data) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET data = excluded.data;

-- name: own_passwords
SELECT data FROM own_password;

-- name: keep_audit
INSERT INTO audit (number, at, who, data)
VALUES ((SELECT coalesce(max(number), 0) + 1 FROM audit), $1, $2, $3);

-- name: audit
-- The newest $3 before the number $1 (all: a very large one) of one person $2 (all: empty).
SELECT number, data FROM audit
WHERE number < $1 AND ($2 = '' OR who = $2)
ORDER BY number DESC LIMIT $3;

-- name: delete_old_audit
-- Those before $1, and the oldest beyond $2 in number.
DELETE FROM audit WHERE at < $1 OR number <= (SELECT max(number) FROM audit) - $2;
