-- Of a session's refresh tokens only those matter to a refresh that are not done with: few, however long the session is.
CREATE INDEX refresh_open ON refresh (session) WHERE current OR next_used_at = 0;
