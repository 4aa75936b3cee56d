DROP TABLE signing_key;
DROP TABLE refresh;
DROP TABLE session;
DROP TABLE account;
