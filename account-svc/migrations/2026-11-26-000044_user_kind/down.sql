ALTER TABLE account DROP COLUMN user_kind;
