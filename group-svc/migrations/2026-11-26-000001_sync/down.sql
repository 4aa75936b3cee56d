DROP INDEX member_left;
ALTER TABLE member DROP COLUMN left_position;
ALTER TABLE conversation DROP COLUMN position;
