-- Log-ins at the outside identity provider, and which session each stands for: log_in is a hash of its tokens' sid, or of
-- the token where it has none. Once its session has ended (ended_at, ms since 1970; 0: it has not), nobody is let in by it.
-- After until nobody could come with it any more.
CREATE TABLE outside (
    "user" UUID NOT NULL,
    log_in BYTEA NOT NULL,
    session UUID NOT NULL,
    ended_at BIGINT NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY ("user", log_in)
);
CREATE INDEX outside_session ON outside (session);
CREATE INDEX outside_until ON outside (until);
