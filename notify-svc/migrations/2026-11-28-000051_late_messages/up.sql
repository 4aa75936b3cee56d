-- How many messages it stands for: 0 (it tells that something was read), 1, or 2: also others that it has taken the place of,
-- which are told of if it is taken back.
ALTER TABLE push_late ADD COLUMN messages INTEGER NOT NULL DEFAULT 1;
