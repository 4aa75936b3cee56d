ALTER TABLE push_late DROP COLUMN mentioned;
