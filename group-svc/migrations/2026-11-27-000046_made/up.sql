-- What was asked for when what a key stands for was made; null: it is not made yet. So nothing is made twice under a key, also
-- where it is gone since, and a key that comes with something else is refused. What is there already was made, empty: nobody
-- knows any more of what.
ALTER TABLE made ADD COLUMN asked BYTEA DEFAULT '';
ALTER TABLE made ALTER COLUMN asked DROP DEFAULT;
