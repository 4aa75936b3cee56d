-- The newest message that names its user, of those that it stands for: it breaks through "mentions alone" though a later one
-- names nobody. 0: none does, or an earlier version kept it.
ALTER TABLE push_late ADD COLUMN mentioned BIGINT NOT NULL DEFAULT 0;
