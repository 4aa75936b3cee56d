-- Where devices are notified: one row a device, and one device a place, which is the last who registered it.
CREATE TABLE push_subscription (
    "user" UUID NOT NULL,
    device UUID NOT NULL,
    id UUID NOT NULL UNIQUE,
    session UUID NOT NULL,
    kind INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    address TEXT NOT NULL,
    -- Of the provider and the address, which may be too long for an index.
    place BYTEA NOT NULL UNIQUE,
    -- What is encrypted or signed with.
    secret BYTEA NOT NULL,
    locale TEXT NOT NULL,
    preview BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY ("user", device)
);
CREATE INDEX push_subscription_session ON push_subscription (session);
-- Pushes that a provider did not take at once; of a conversation, each device is told the newest alone.
CREATE TABLE push_late (
    "user" UUID NOT NULL,
    device UUID NOT NULL,
    conversation UUID NOT NULL,
    shard INTEGER NOT NULL,
    due_at BIGINT NOT NULL,
    push BYTEA NOT NULL,
    PRIMARY KEY ("user", device, conversation)
);
CREATE INDEX push_late_due ON push_late (shard, due_at);
-- The newest message that a device was notified of: what is cleared once it was read elsewhere.
CREATE TABLE push_shown (
    "user" UUID NOT NULL,
    device UUID NOT NULL,
    conversation UUID NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY ("user", device, conversation)
);
CREATE INDEX push_shown_at ON push_shown (at);
-- Up to where each shard of the log is done with.
CREATE TABLE push_cursor (
    shard INTEGER PRIMARY KEY,
    position BIGINT NOT NULL
);
-- Up to when it is known which sessions have ended; ms since 1970.
CREATE TABLE push_ended (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    until BIGINT NOT NULL
);
-- One row: all processes sign with the same key (VAPID), PKCS #8.
CREATE TABLE push_key (
    one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    key BYTEA NOT NULL
);
