ALTER TABLE account DROP COLUMN picture;
