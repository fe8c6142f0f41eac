-- What a check's probe keeps from run to run (JSON): where it stopped reading a log, counters, when something was first seen.
CREATE TABLE check_memory (
    check_name TEXT PRIMARY KEY,
    data       TEXT NOT NULL
);
