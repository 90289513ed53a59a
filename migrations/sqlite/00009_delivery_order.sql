-- +goose Up
-- A delivery id is of one mailbox only, and ids begin with the time: the mailbox made each entry longer, and found nothing.

DROP INDEX messages_delivery;
CREATE UNIQUE INDEX messages_delivery ON messages (delivery_id) WHERE delivery_id IS NOT NULL;
