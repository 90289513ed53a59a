-- +goose Up
-- Each delivery writes to every index of messages, each time on another page. Messages of a mailbox are found by folder.

DROP INDEX messages_mailbox;

-- Each delivery changes a row of these. With room in their pages the new version stays beside the old one, and no index is
-- written (a HOT update).
ALTER TABLE tenants SET (fillfactor = 10);
ALTER TABLE mailboxes SET (fillfactor = 50);
ALTER TABLE folders SET (fillfactor = 50);
