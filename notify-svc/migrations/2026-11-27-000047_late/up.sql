-- What is kept for later of a conversation: changed where its messages are.
CREATE INDEX push_late_conversation ON push_late (conversation);
