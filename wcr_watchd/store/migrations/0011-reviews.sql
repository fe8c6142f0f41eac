-- What people wrote about an incident after it (JSON).
CREATE TABLE review (
    incident BIGINT PRIMARY KEY,
    data     TEXT   NOT NULL
);
