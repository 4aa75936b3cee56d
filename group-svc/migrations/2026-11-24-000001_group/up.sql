-- Who is in which conversation, as the log says. Rows carry the shard of their conversation, so that several databases
-- can share the load.
CREATE TABLE conversation (
    conversation UUID PRIMARY KEY,
    shard INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    picture TEXT NOT NULL,
    data TEXT NOT NULL,
    history INTEGER NOT NULL,
    revision BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    message_at BIGINT NOT NULL
);
-- Heads change with every batch of the log: room on the page keeps those updates off the index.
ALTER TABLE conversation SET (fillfactor = 70);
CREATE TABLE member (
    conversation UUID NOT NULL,
    "user" UUID NOT NULL,
    role INTEGER NOT NULL,
    joined_revision BIGINT NOT NULL,
    joined_seq BIGINT NOT NULL,
    joined_at BIGINT NOT NULL,
    left_revision BIGINT NOT NULL,
    read_seq BIGINT NOT NULL,
    PRIMARY KEY (conversation, "user")
);
ALTER TABLE member SET (fillfactor = 70);
CREATE INDEX member_user ON member ("user") WHERE left_revision = 0;
CREATE TABLE group_cursor (
    shard INTEGER PRIMARY KEY,
    position BIGINT NOT NULL
);
CREATE TABLE made (
    "user" UUID NOT NULL,
    key TEXT NOT NULL,
    conversation UUID NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY ("user", key)
);
CREATE INDEX made_at ON made (at);
