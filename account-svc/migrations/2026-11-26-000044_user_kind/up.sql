-- Who is behind an account (madang.client.v1.UserKind): 1, a person, as all were; 2, a bot. It is not called kind: session has
-- a column of that name, and processes of earlier versions ask for it beside this table without saying of which.
ALTER TABLE account ADD COLUMN user_kind INTEGER NOT NULL DEFAULT 1;
