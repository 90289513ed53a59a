-- +goose Up
-- Each delivery writes to every index of messages, each time on another page. Messages of a mailbox are found by folder.

DROP INDEX messages_mailbox;
