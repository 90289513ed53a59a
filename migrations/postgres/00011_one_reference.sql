-- +goose Up
-- Every delivery looked up and locked the folder of a message, and its mailbox, to see that they are there. One reference says more:
-- the mailbox of a message is that of its folder. What is stored already was compared with both, and is not read again.

ALTER TABLE folders ADD CONSTRAINT folders_mailbox UNIQUE (id, mailbox_id);
ALTER TABLE messages DROP CONSTRAINT messages_mailbox_id_fkey, DROP CONSTRAINT messages_folder_id_fkey;
ALTER TABLE messages ADD CONSTRAINT messages_folder FOREIGN KEY (folder_id, mailbox_id) REFERENCES folders (id, mailbox_id) NOT VALID;
