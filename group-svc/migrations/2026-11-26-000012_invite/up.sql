-- Codes by which people join groups, found by their hash, so that how long a look takes says nothing about a code.
CREATE TABLE invite (
    hash BYTEA PRIMARY KEY,
    code TEXT NOT NULL,
    conversation UUID NOT NULL,
    by UUID NOT NULL,
    expires_at BIGINT NOT NULL,
    max_uses BIGINT NOT NULL,
    uses BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX invite_conversation ON invite (conversation, created_at);
-- Who joins, or has joined, by which: a place is taken before the home is asked, and kept if it says yes.
CREATE TABLE invite_use (
    hash BYTEA NOT NULL REFERENCES invite ON DELETE CASCADE,
    "user" UUID NOT NULL,
    at BIGINT NOT NULL,
    joined BOOLEAN NOT NULL,
    PRIMARY KEY (hash, "user")
);
