-- +goose Up
-- Keys that objects are encrypted to, the digests that let a range of a long object be checked, and the decoded copies of
-- attachments.

CREATE TABLE tenant_keys (
    id           TEXT   NOT NULL PRIMARY KEY,
    tenant_id    TEXT   NOT NULL REFERENCES tenants (id),
    recipient    TEXT   NOT NULL,
    wrapped      TEXT   NOT NULL,
    created_us   BIGINT NOT NULL,
    destroyed_us BIGINT
);
CREATE INDEX tenant_keys_tenant ON tenant_keys (tenant_id, id);

ALTER TABLE messages ADD COLUMN pieces TEXT NOT NULL DEFAULT '';

CREATE TABLE attachments (
    message_id TEXT   NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    part       TEXT   NOT NULL,
    tenant_id  TEXT   NOT NULL,
    size_bytes BIGINT NOT NULL,
    digest     TEXT   NOT NULL,
    pieces     TEXT   NOT NULL,
    created_us BIGINT NOT NULL,
    PRIMARY KEY (message_id, part)
);
