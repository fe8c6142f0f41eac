-- Tasks, and how they ended. They outlive the configuration: who signed off what is asked for years later.

-- name: keep_task
INSERT INTO task (task, data) VALUES ($1, $2)
ON CONFLICT (task) DO UPDATE SET data = excluded.data;

-- name: tasks
SELECT data FROM task;

-- name: keep_task_record
INSERT INTO task_record (task, number, at, data) VALUES ($1, $2, $3, $4)
ON CONFLICT (task, number) DO UPDATE SET at = excluded.at, data = excluded.data;

-- name: forget_old_task_records
-- Those of a task with a number up to $2.
DELETE FROM task_record WHERE task = $1 AND number <= $2;

-- name: task_records
SELECT data FROM task_record WHERE task = $1 ORDER BY number DESC LIMIT $2;
