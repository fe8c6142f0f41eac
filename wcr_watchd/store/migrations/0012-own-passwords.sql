-- Passwords that users chose in the browser (Argon2 hashes), in the place of the ones in the configuration.
CREATE TABLE own_password (
    name TEXT PRIMARY KEY,
    data TEXT NOT NULL
);
