-- The picture that a profile shows, by its id; empty: none.
ALTER TABLE account ADD COLUMN picture TEXT NOT NULL DEFAULT '';
