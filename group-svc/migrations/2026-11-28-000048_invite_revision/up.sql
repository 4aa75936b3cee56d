-- The group's revision at which somebody was looked for who takes a place, then that with which they came in: whoever asks
-- twice at once takes one place. How many ask for them: a place is given back when the last was refused.
ALTER TABLE invite_use ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
ALTER TABLE invite_use ADD COLUMN asking INTEGER NOT NULL DEFAULT 1;
