-- What users have asked for over HTTP under an Idempotency-Key, for a day: a hash of what it was, and the answer once it is
-- done, where that is to be given again. Who asks has the row until busy_until (ms since 1970; 0: it is done).
CREATE TABLE request (
    "user" UUID NOT NULL,
    key TEXT NOT NULL,
    asked BYTEA NOT NULL,
    answer BYTEA NOT NULL,
    busy_until BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY ("user", key)
);
CREATE INDEX request_at ON request (at);
