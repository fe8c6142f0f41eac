-- What is remembered of each task (JSON), by the name of its check.
CREATE TABLE task (
    task TEXT PRIMARY KEY,
    data TEXT NOT NULL
);

-- The last ends of each task: who signed it off and with what, or how a run ended (JSON).
CREATE TABLE task_record (
    task   TEXT    NOT NULL,
    number INTEGER NOT NULL,
    at     BIGINT  NOT NULL,
    data   TEXT    NOT NULL,
    PRIMARY KEY (task, number)
);
