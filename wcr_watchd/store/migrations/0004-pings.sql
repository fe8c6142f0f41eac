-- What is known of each job that reports by itself (JSON); "job" is empty where the check itself is the job.
CREATE TABLE heartbeat (
    check_name TEXT NOT NULL,
    job        TEXT NOT NULL,
    data       TEXT NOT NULL,
    PRIMARY KEY (check_name, job)
);

-- The last signals of each job: what each of them was (JSON), and its body as it came.
CREATE TABLE ping (
    check_name TEXT    NOT NULL,
    job        TEXT    NOT NULL,
    number     INTEGER NOT NULL,
    at         BIGINT  NOT NULL,
    data       TEXT    NOT NULL,
    body       BLOB    NOT NULL,
    PRIMARY KEY (check_name, job, number)
);
