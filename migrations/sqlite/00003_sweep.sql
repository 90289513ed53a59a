-- +goose Up
-- What the sweep and fsck need: one row about the state of the index as a whole, messages whose objects are damaged, and
-- folders by their making, so that mailboxes are described soon after they change.

CREATE TABLE sweep_state (
    id           BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch        BIGINT NOT NULL,
    token        TEXT   NOT NULL,
    leader       TEXT   NOT NULL,
    lease_us     BIGINT NOT NULL,
    stopped      TEXT   NOT NULL,
    stopped_us   BIGINT,
    renewed_for  TEXT   NOT NULL,
    swept_us     BIGINT,
    verify_after TEXT   NOT NULL,
    verify_us    BIGINT
);
INSERT INTO sweep_state (id, epoch, token, leader, lease_us, stopped, renewed_for, verify_after) VALUES (1, 0, '', '', 0, '', '', '');

ALTER TABLE messages ADD COLUMN damaged_us BIGINT;
CREATE INDEX messages_damaged ON messages (id) WHERE damaged_us IS NOT NULL;
CREATE INDEX folders_created ON folders (created_us);
