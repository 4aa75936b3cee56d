-- The keys that tokens are signed with, now, lately and soon: all processes sign with the newest that signs already.
-- signing_key stays for processes of earlier versions, which sign with it while they last.
CREATE TABLE token_key (
    kid TEXT PRIMARY KEY,
    seed BYTEA NOT NULL,
    signs_from BIGINT NOT NULL
);
INSERT INTO token_key SELECT kid, seed, (extract(epoch FROM now()) * 1000)::BIGINT FROM signing_key;
