-- Who is about to come into which conversation, of those who may soon be in as many as one may be in: counted with those that
-- they are in, so that however much is asked at once, nobody comes to be in more. As of which revision of the conversation
-- they were looked for, and how many ask for them. The row without a conversation (all zeros) is whose turn it is to be counted.
CREATE TABLE coming (
    "user" UUID NOT NULL,
    conversation UUID NOT NULL,
    at BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    asking INTEGER NOT NULL,
    PRIMARY KEY ("user", conversation)
);
CREATE INDEX coming_at ON coming (at);
