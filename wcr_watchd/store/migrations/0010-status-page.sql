-- What the public status page tells: a post with all that was said and drafted about one trouble (JSON).
CREATE TABLE status_post (
    id         TEXT   PRIMARY KEY,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    data       TEXT   NOT NULL
);

CREATE INDEX status_post_by_change ON status_post (changed_at);

-- Who confirmed that they want mails. "id" is the secret of their link to end that.
CREATE TABLE status_subscriber (
    id           TEXT   PRIMARY KEY,
    address      TEXT   NOT NULL UNIQUE,
    confirmed_at BIGINT NOT NULL
);

-- Mails that subscribers are owed; a row goes when its mail is delivered or given up.
CREATE TABLE status_mail (
    subscriber      TEXT    NOT NULL,
    post            TEXT    NOT NULL,
    update_id       TEXT    NOT NULL,
    owed_at         BIGINT  NOT NULL,
    attempts        INTEGER NOT NULL,
    next_attempt_at BIGINT  NOT NULL,
    PRIMARY KEY (subscriber, update_id)
);

CREATE INDEX status_mail_by_time ON status_mail (next_attempt_at);
