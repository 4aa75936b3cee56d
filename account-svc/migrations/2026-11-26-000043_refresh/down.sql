DROP INDEX refresh_open;
