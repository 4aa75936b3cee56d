DROP TABLE token_key;
