-- Updates in progress and those of the past (JSON); "at" is when they started, or were prepared.
CREATE TABLE change (
    id      INTEGER PRIMARY KEY,
    at      BIGINT  NOT NULL,
    is_open INTEGER NOT NULL,
    data    TEXT    NOT NULL
);

-- The log of modifications: what became different, when, and who or which check noticed.
CREATE TABLE modification (
    at     BIGINT NOT NULL,
    source TEXT   NOT NULL,
    kind   TEXT   NOT NULL,
    name   TEXT   NOT NULL,
    was    TEXT   NOT NULL,
    became TEXT   NOT NULL,
    PRIMARY KEY (at, source, kind, name)
);

-- The facts of each check's last run (JSON), with which those of the next are compared.
CREATE TABLE known_facts (
    check_name TEXT PRIMARY KEY,
    data       TEXT NOT NULL
);
