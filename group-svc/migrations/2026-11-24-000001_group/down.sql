DROP TABLE made;
DROP TABLE group_cursor;
DROP TABLE member;
DROP TABLE conversation;
