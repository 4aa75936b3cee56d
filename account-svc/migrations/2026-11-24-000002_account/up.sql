-- People, their log-ins, and the key that tokens are signed with.
CREATE TABLE account (
    "user" UUID PRIMARY KEY,
    handle TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    status_message TEXT NOT NULL,
    password TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE session (
    id UUID PRIMARY KEY,
    "user" UUID NOT NULL,
    device TEXT NOT NULL,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    app TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    used_at BIGINT NOT NULL
);
CREATE INDEX session_of_user ON session ("user");
CREATE TABLE refresh (
    hash BYTEA PRIMARY KEY,
    session UUID NOT NULL REFERENCES session ON DELETE CASCADE,
    current BOOLEAN NOT NULL,
    next_used_at BIGINT NOT NULL
);
CREATE INDEX refresh_session ON refresh (session);
-- One row: several processes sign with the same key.
CREATE TABLE signing_key (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    kid TEXT NOT NULL,
    seed BYTEA NOT NULL
);
