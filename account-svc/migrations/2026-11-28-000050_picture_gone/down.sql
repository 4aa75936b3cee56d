DROP TABLE picture_gone;
