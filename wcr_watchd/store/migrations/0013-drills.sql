-- Drills of alarms that are over (JSON), under the numbers that they share with incidents.
CREATE TABLE drill (
    number     BIGINT PRIMARY KEY,
    started_at BIGINT NOT NULL,
    data       TEXT   NOT NULL
);
