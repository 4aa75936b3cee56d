DROP TABLE notify_data;
