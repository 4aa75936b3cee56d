-- Which cluster's data notify-svc has here, the same word as in NATS and the other databases: one row, by `madang migrate`.
CREATE TABLE notify_data (
    one BOOLEAN PRIMARY KEY CHECK (one),
    id TEXT NOT NULL
);
