DROP TABLE push_key;
DROP TABLE push_ended;
DROP TABLE push_cursor;
DROP TABLE push_shown;
DROP TABLE push_late;
DROP TABLE push_subscription;
