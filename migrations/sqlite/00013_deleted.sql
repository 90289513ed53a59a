-- +goose Up
-- Deleted messages are listed by folder, newest first; without this a mailbox is read from end to end for them. A delivery writes nothing to it.

CREATE INDEX messages_deleted ON messages (folder_id, id) WHERE deleted_us IS NOT NULL;
