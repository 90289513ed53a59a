-- +goose Up
-- Ids are UUIDv7 text, times microseconds since 1970 UTC (*_us), JSON is text that SQL never looks into.

CREATE TABLE installation (
    id            BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    database_id   TEXT   NOT NULL,
    keyring_check TEXT   NOT NULL,
    created_us    BIGINT NOT NULL
);

CREATE TABLE tenants (
    id          TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL,
    name_fold   TEXT   NOT NULL UNIQUE,
    state       TEXT   NOT NULL CHECK (state IN ('active', 'suspended')),
    quota_bytes BIGINT NOT NULL DEFAULT 0,
    used_bytes  BIGINT NOT NULL DEFAULT 0,
    created_us  BIGINT NOT NULL
);

CREATE TABLE domains (
    id         TEXT   NOT NULL PRIMARY KEY,
    tenant_id  TEXT   NOT NULL REFERENCES tenants (id),
    name       TEXT   NOT NULL UNIQUE,
    alias_of   TEXT   REFERENCES domains (id),
    created_us BIGINT NOT NULL
);
CREATE INDEX domains_tenant ON domains (tenant_id, name);

CREATE TABLE users (
    id            TEXT   NOT NULL PRIMARY KEY,
    tenant_id     TEXT   NOT NULL REFERENCES tenants (id),
    login         TEXT   NOT NULL,
    login_fold    TEXT   NOT NULL UNIQUE,
    password_hash TEXT   NOT NULL,
    role          TEXT   NOT NULL CHECK (role IN ('super_admin', 'tenant_admin', 'helpdesk', 'auditor', 'user')),
    disabled_us   BIGINT,
    created_us    BIGINT NOT NULL
);
CREATE INDEX users_tenant ON users (tenant_id, login_fold);

CREATE TABLE mailboxes (
    id           TEXT   NOT NULL PRIMARY KEY,
    tenant_id    TEXT   NOT NULL REFERENCES tenants (id),
    domain_id    TEXT   NOT NULL REFERENCES domains (id),
    address      TEXT   NOT NULL,
    address_fold TEXT   NOT NULL UNIQUE,
    quota_bytes  BIGINT NOT NULL DEFAULT 0,
    used_bytes   BIGINT NOT NULL DEFAULT 0,
    messages     BIGINT NOT NULL DEFAULT 0,
    created_us   BIGINT NOT NULL
);
CREATE INDEX mailboxes_tenant ON mailboxes (tenant_id, address_fold);

CREATE TABLE mailbox_access (
    user_id    TEXT NOT NULL REFERENCES users (id),
    mailbox_id TEXT NOT NULL REFERENCES mailboxes (id),
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    rights     TEXT NOT NULL CHECK (rights IN ('owner', 'read')),
    PRIMARY KEY (user_id, mailbox_id)
);
CREATE INDEX mailbox_access_mailbox ON mailbox_access (mailbox_id);

CREATE TABLE aliases (
    id           TEXT   NOT NULL PRIMARY KEY,
    tenant_id    TEXT   NOT NULL REFERENCES tenants (id),
    domain_id    TEXT   NOT NULL REFERENCES domains (id),
    address      TEXT   NOT NULL,
    address_fold TEXT   NOT NULL UNIQUE,
    target       TEXT   NOT NULL,
    created_us   BIGINT NOT NULL
);
CREATE INDEX aliases_tenant ON aliases (tenant_id, address_fold);

CREATE TABLE folders (
    id          TEXT   NOT NULL PRIMARY KEY,
    tenant_id   TEXT   NOT NULL REFERENCES tenants (id),
    mailbox_id  TEXT   NOT NULL REFERENCES mailboxes (id),
    name        TEXT   NOT NULL,
    uidvalidity BIGINT NOT NULL,
    uidnext     BIGINT NOT NULL,
    modseq      BIGINT NOT NULL,
    messages    BIGINT NOT NULL DEFAULT 0,
    created_us  BIGINT NOT NULL,
    UNIQUE (mailbox_id, name)
);

CREATE TABLE messages (
    id              TEXT     NOT NULL PRIMARY KEY,
    tenant_id       TEXT     NOT NULL,
    mailbox_id      TEXT     NOT NULL REFERENCES mailboxes (id),
    folder_id       TEXT     NOT NULL REFERENCES folders (id),
    uid             BIGINT   NOT NULL,
    modseq          BIGINT   NOT NULL,
    delivery_id     TEXT,
    object_key      TEXT     NOT NULL,
    size_bytes      BIGINT   NOT NULL,
    digest          TEXT     NOT NULL,
    received_us     BIGINT   NOT NULL,
    sent_us         BIGINT,
    subject         TEXT     NOT NULL,
    from_name       TEXT     NOT NULL,
    from_address    TEXT     NOT NULL,
    preview         TEXT     NOT NULL,
    summary         TEXT     NOT NULL,
    has_attachments SMALLINT NOT NULL,
    envelope_from   TEXT     NOT NULL,
    envelope_rcpt   TEXT     NOT NULL,
    queue_id        TEXT     NOT NULL,
    queue_host      TEXT     NOT NULL,
    verdict         TEXT     NOT NULL,
    score_milli     BIGINT   NOT NULL,
    tags            TEXT     NOT NULL,
    flags           BIGINT   NOT NULL DEFAULT 0,
    deleted_us      BIGINT,
    indexed_us      BIGINT
);
CREATE UNIQUE INDEX messages_uid ON messages (folder_id, uid);
CREATE INDEX messages_folder ON messages (folder_id, id);
CREATE INDEX messages_mailbox ON messages (mailbox_id, id);
CREATE UNIQUE INDEX messages_delivery ON messages (delivery_id, mailbox_id) WHERE delivery_id IS NOT NULL;

CREATE TABLE sessions (
    token_hash  TEXT   NOT NULL PRIMARY KEY,
    user_id     TEXT   NOT NULL REFERENCES users (id),
    client      TEXT   NOT NULL,
    created_us  BIGINT NOT NULL,
    expires_us  BIGINT NOT NULL
);
CREATE INDEX sessions_expires ON sessions (expires_us);

CREATE TABLE api_keys (
    id           TEXT   NOT NULL PRIMARY KEY,
    tenant_id    TEXT   REFERENCES tenants (id),
    name         TEXT   NOT NULL,
    role         TEXT   NOT NULL CHECK (role IN ('super_admin', 'tenant_admin', 'helpdesk', 'auditor')),
    prefix       TEXT   NOT NULL,
    hash         TEXT   NOT NULL UNIQUE,
    created_us   BIGINT NOT NULL,
    expires_us   BIGINT,
    last_used_us BIGINT
);

CREATE TABLE audit_log (
    at_us      BIGINT NOT NULL,
    id         TEXT   NOT NULL,
    tenant_id  TEXT,
    actor_kind TEXT   NOT NULL,
    actor      TEXT   NOT NULL,
    action     TEXT   NOT NULL,
    target     TEXT   NOT NULL,
    reason     TEXT   NOT NULL,
    before     TEXT   NOT NULL,
    after      TEXT   NOT NULL,
    request_id TEXT   NOT NULL,
    PRIMARY KEY (at_us, id)
);
CREATE INDEX audit_log_tenant ON audit_log (tenant_id, at_us, id);
