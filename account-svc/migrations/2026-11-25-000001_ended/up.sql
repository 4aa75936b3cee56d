-- Sessions that ended within the last hour: what gateways ask, instead of asking after every session that they know.
CREATE TABLE ended (
    session UUID PRIMARY KEY,
    at BIGINT NOT NULL
);
CREATE INDEX ended_at ON ended (at);
