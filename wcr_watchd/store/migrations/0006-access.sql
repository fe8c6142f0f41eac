-- Browsers that are signed in, by the hash of their cookie.
CREATE TABLE session (
    digest TEXT PRIMARY KEY,
    data   TEXT NOT NULL
);

-- Who did what, from where, and what came of it.
CREATE TABLE audit (
    number BIGINT PRIMARY KEY,
    at     BIGINT NOT NULL,
    who    TEXT   NOT NULL,
    data   TEXT   NOT NULL
);
CREATE INDEX audit_at ON audit (at);
