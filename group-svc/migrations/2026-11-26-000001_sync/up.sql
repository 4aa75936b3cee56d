-- As of which position of its shard's log a conversation changed last, and with which somebody left: what a list since an
-- earlier one is found by. What is there already counts as changed before every list.
ALTER TABLE conversation ADD COLUMN position BIGINT NOT NULL DEFAULT 0;
ALTER TABLE member ADD COLUMN left_position BIGINT NOT NULL DEFAULT 0;
CREATE INDEX member_left ON member ("user", left_position) WHERE left_revision > 0;
