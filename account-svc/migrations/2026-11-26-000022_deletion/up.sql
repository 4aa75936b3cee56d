-- When an account was deleted (0: it is there), ms since 1970: its row stays, so that its handle is not given out again.
ALTER TABLE account ADD COLUMN deleted_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN suspended BOOLEAN NOT NULL DEFAULT FALSE;
-- What is left to do for deleted accounts: who takes a row has it until due_at. place is the last conversation that this
-- round has done.
CREATE TABLE deletion (
    "user" UUID PRIMARY KEY,
    erase BOOLEAN NOT NULL,
    picture TEXT NOT NULL,
    round INTEGER NOT NULL,
    place UUID,
    due_at BIGINT NOT NULL
);
CREATE INDEX deletion_due ON deletion (due_at);
