-- Who blocks whom. A row that has not been told to the conversation's home yet is untold; one that has ended goes once
-- that was told. version counts the changes of a row, so that what was told is known to be the newest.
CREATE TABLE block (
    "user" UUID NOT NULL,
    other UUID NOT NULL,
    blocked BOOLEAN NOT NULL,
    version BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    told BOOLEAN NOT NULL,
    PRIMARY KEY ("user", other)
);
CREATE INDEX block_untold ON block (changed_at) WHERE NOT told;
