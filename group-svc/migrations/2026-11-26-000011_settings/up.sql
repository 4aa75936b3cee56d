-- What members have set for themselves; null, which takes no room, for who has set nothing. `settings` is all of it
-- (madang.log.v1.MemberSettings); beside it stands what queries go by: until when it is muted, up to where it is cleared,
-- up to where it is read by having been hidden or cleared, when it was set, and as of which position of the shard's log.
ALTER TABLE member ADD COLUMN settings BYTEA;
ALTER TABLE member ADD COLUMN muted_until BIGINT;
ALTER TABLE member ADD COLUMN cleared_seq BIGINT;
ALTER TABLE member ADD COLUMN floor_seq BIGINT;
ALTER TABLE member ADD COLUMN settings_at BIGINT;
ALTER TABLE member ADD COLUMN settings_position BIGINT;
