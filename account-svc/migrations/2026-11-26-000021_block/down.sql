DROP TABLE block;
