-- Of which message: what became of an older one does not touch a newer one's row. 0: an earlier version kept it.
ALTER TABLE push_late ADD COLUMN seq BIGINT NOT NULL DEFAULT 0;
