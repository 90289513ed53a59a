-- +goose NO TRANSACTION
-- +goose Up
-- Deleted messages are listed by folder, newest first; without this a mailbox is read from end to end for them. A delivery writes nothing to it.
-- It is made while mail is stored, by nodes of the previous version too. An attempt that failed has left one that is not valid.

DROP INDEX CONCURRENTLY IF EXISTS messages_deleted;
CREATE INDEX CONCURRENTLY messages_deleted ON messages (folder_id, id) WHERE deleted_us IS NOT NULL;
