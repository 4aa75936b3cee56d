-- Which cluster's data group-svc has here, the same word as in NATS and the other databases: one row, by `madang migrate`.
CREATE TABLE group_data (
    one BOOLEAN PRIMARY KEY CHECK (one),
    id TEXT NOT NULL
);
