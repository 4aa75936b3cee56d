DROP INDEX push_late_conversation;
