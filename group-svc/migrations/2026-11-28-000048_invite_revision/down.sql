ALTER TABLE invite_use DROP COLUMN asking;
ALTER TABLE invite_use DROP COLUMN revision;
