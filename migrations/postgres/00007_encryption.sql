-- +goose Up
-- Keys that objects are encrypted to, the digests that let a range of a long object be checked, and the decoded copies of
-- attachments.

CREATE TABLE tenant_keys (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id    TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    recipient    TEXT COLLATE "C" NOT NULL,
    wrapped      TEXT COLLATE "C" NOT NULL,
    created_us   BIGINT NOT NULL,
    destroyed_us BIGINT
);
CREATE INDEX tenant_keys_tenant ON tenant_keys (tenant_id, id);

ALTER TABLE messages ADD COLUMN pieces TEXT COLLATE "C" NOT NULL DEFAULT '';

CREATE TABLE attachments (
    message_id TEXT COLLATE "C" NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    part       TEXT COLLATE "C" NOT NULL,
    tenant_id  TEXT COLLATE "C" NOT NULL,
    size_bytes BIGINT NOT NULL,
    digest     TEXT COLLATE "C" NOT NULL,
    pieces     TEXT COLLATE "C" NOT NULL,
    created_us BIGINT NOT NULL,
    PRIMARY KEY (message_id, part)
);
