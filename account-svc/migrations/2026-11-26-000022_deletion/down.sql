DROP TABLE deletion;
ALTER TABLE account DROP COLUMN suspended;
ALTER TABLE account DROP COLUMN deleted_at;
