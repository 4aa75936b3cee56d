-- Pictures that nothing shows any more and that are still to be deleted where they are kept, since when (ms since 1970).
CREATE TABLE picture_gone (
    picture TEXT PRIMARY KEY,
    at BIGINT NOT NULL
);
CREATE INDEX picture_gone_at ON picture_gone (at);
