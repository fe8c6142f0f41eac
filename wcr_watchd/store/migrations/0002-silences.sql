-- Silences and started maintenance, kept for a while after their end so that it can be seen who muted what.
CREATE TABLE silence (
    id      TEXT   PRIMARY KEY,
    ends_at BIGINT NOT NULL,
    data    TEXT   NOT NULL
);
