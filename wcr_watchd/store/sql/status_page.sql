-- The public status page: posts, subscribers, and the mails they are owed.

-- name: keep_status_post
INSERT INTO status_post (id, created_at, changed_at, data) VALUES ($1, $2, $3, $4)
ON CONFLICT (id) DO UPDATE SET changed_at = excluded.changed_at, data = excluded.data;

-- name: status_posts
-- Posts that changed since $1, newest first.
SELECT data FROM status_post WHERE changed_at >= $1 ORDER BY created_at DESC, id LIMIT $2;

-- name: drop_status_post
DELETE FROM status_post WHERE id = $1;

-- name: keep_status_subscriber
-- Whoever confirms twice keeps the link of the first time.
INSERT INTO status_subscriber (id, address, confirmed_at) VALUES ($1, $2, $3)
ON CONFLICT (address) DO NOTHING;

-- name: status_subscribers
SELECT id, address, confirmed_at FROM status_subscriber ORDER BY confirmed_at, id;

-- name: drop_status_subscriber
DELETE FROM status_subscriber WHERE id = $1;

-- name: drop_status_mails_of
DELETE FROM status_mail WHERE subscriber = $1;

-- name: owe_status_mails
-- To everybody who subscribed, about one update; who is owed it already is owed it once.
INSERT INTO status_mail (subscriber, post, update_id, owed_at, attempts, next_attempt_at)
SELECT id, $1, $2, $3, 0, $3 FROM status_subscriber WHERE true
ON CONFLICT (subscriber, update_id) DO NOTHING;

-- name: status_mails
-- Those that are due, the oldest first, with the subscriber's address.
SELECT m.subscriber, s.address, m.post, m.update_id, m.owed_at, m.attempts, m.next_attempt_at
FROM status_mail m JOIN status_subscriber s ON s.id = m.subscriber
WHERE m.next_attempt_at <= $1 ORDER BY m.next_attempt_at, m.subscriber LIMIT $2;

-- name: next_status_mail
SELECT min(next_attempt_at) FROM status_mail;

-- name: keep_status_mail
UPDATE status_mail SET attempts = $3, next_attempt_at = $4 WHERE subscriber = $1 AND update_id = $2;

-- name: drop_status_mail
DELETE FROM status_mail WHERE subscriber = $1 AND update_id = $2;
