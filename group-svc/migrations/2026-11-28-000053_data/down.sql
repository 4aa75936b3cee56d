DROP TABLE group_data;
