-- Reports that were written. "body" holds the whole document (JSON, compressed); the other columns are what a list shows.
CREATE TABLE report (
    id        INTEGER PRIMARY KEY,
    name      TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    audience  TEXT    NOT NULL,
    scheduled INTEGER NOT NULL,
    title     TEXT    NOT NULL,
    summary   TEXT    NOT NULL,
    made_at   BIGINT  NOT NULL,
    since     BIGINT  NOT NULL,
    until     BIGINT  NOT NULL,
    body      BLOB    NOT NULL
);
