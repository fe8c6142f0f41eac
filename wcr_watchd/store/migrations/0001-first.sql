-- Times are epoch milliseconds, durations seconds. "slot", "hour" and "start" are the beginning of a span of time.

-- Who observed: a check as seen from a location. Observations refer to it by number, to stay small.
CREATE TABLE source (
    id         INTEGER PRIMARY KEY,
    check_name TEXT    NOT NULL,
    location   TEXT    NOT NULL,
    seen_at    BIGINT  NOT NULL,
    UNIQUE (check_name, location)
);

-- What is measured: a name with its labels (JSON), shared by all checks that measure it.
CREATE TABLE series (
    id      INTEGER PRIMARY KEY,
    name    TEXT   NOT NULL,
    labels  TEXT   NOT NULL,
    seen_at BIGINT NOT NULL,
    UNIQUE (name, labels)
);

-- Observations as they come: one row per commit, however many checks it tells of, so that thousands of checks cost a
-- page or two per commit. "sources" are the numbers of those it tells of (packed), "since" is the oldest time in it.
-- They move on to "observation" when their slot is over.
CREATE TABLE recent (
    id      INTEGER PRIMARY KEY,
    since   BIGINT NOT NULL,
    sources BLOB   NOT NULL,
    body    BLOB   NOT NULL
);

-- Raw observations of a source in one slot. Laid down slot by slot, so that writing is sequential and reading one
-- check's course is one look-up per slot.
CREATE TABLE observation (
    slot      BIGINT  NOT NULL,
    source_id INTEGER NOT NULL,
    body      BLOB    NOT NULL,
    PRIMARY KEY (slot, source_id)
);

-- Buckets of "width" milliseconds, packed into one row per source and span (an hour of five-minute buckets, a day
-- of hours).
CREATE TABLE rollup (
    width     BIGINT  NOT NULL,
    start     BIGINT  NOT NULL,
    source_id INTEGER NOT NULL,
    body      BLOB    NOT NULL,
    PRIMARY KEY (width, start, source_id)
);

-- Rows of "rollup" that have to be computed (again).
CREATE TABLE rollup_due (
    width     BIGINT  NOT NULL,
    start     BIGINT  NOT NULL,
    source_id INTEGER NOT NULL,
    PRIMARY KEY (width, start, source_id)
);

CREATE TABLE check_state (
    check_name TEXT PRIMARY KEY,
    data       TEXT NOT NULL
);

-- "data" holds the whole incident (JSON); the other columns are what is searched by.
CREATE TABLE incident (
    id          BIGINT PRIMARY KEY,
    check_name  TEXT    NOT NULL,
    subject     TEXT    NOT NULL,
    severity    INTEGER NOT NULL,
    state       TEXT    NOT NULL,
    opened_at   BIGINT  NOT NULL,
    resolved_at BIGINT,
    data        TEXT    NOT NULL
);

CREATE INDEX incident_by_check ON incident (check_name, id);
CREATE INDEX incident_unresolved ON incident (id) WHERE resolved_at IS NULL;
CREATE INDEX incident_by_end ON incident (resolved_at);

CREATE TABLE event (
    incident BIGINT  NOT NULL,
    sequence INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    at       BIGINT  NOT NULL,
    severity INTEGER NOT NULL,
    summary  TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    by_whom  TEXT    NOT NULL,
    PRIMARY KEY (incident, sequence)
);

-- "id" is the idempotency key. "data" is the notification (JSON); it never changes, the other columns do.
CREATE TABLE outbox (
    id              TEXT PRIMARY KEY,
    incident        BIGINT  NOT NULL,
    channel         TEXT    NOT NULL,
    contact         TEXT    NOT NULL,
    address         TEXT    NOT NULL,
    created_at      BIGINT  NOT NULL,
    state           TEXT    NOT NULL,
    attempts        INTEGER NOT NULL,
    next_attempt_at BIGINT  NOT NULL,
    last_error      TEXT    NOT NULL,
    delivered_at    BIGINT,
    receipt         TEXT    NOT NULL,
    fell_back       INTEGER NOT NULL,
    data            TEXT    NOT NULL
);

CREATE INDEX outbox_by_incident ON outbox (incident);
CREATE INDEX outbox_by_age ON outbox (created_at);
CREATE INDEX outbox_pending ON outbox (next_attempt_at) WHERE state = 'pending';
