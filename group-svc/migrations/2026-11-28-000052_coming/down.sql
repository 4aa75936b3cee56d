DROP TABLE coming;
