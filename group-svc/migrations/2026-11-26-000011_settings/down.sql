ALTER TABLE member DROP COLUMN settings, DROP COLUMN muted_until, DROP COLUMN cleared_seq, DROP COLUMN floor_seq,
    DROP COLUMN settings_at, DROP COLUMN settings_position;
