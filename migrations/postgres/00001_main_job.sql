-- +goose Up
-- Ids are UUIDv7 text, times microseconds since 1970 UTC (*_us), JSON is text that SQL never looks into.

CREATE TABLE installation (
    id            BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    database_id   TEXT COLLATE "C" NOT NULL,
    keyring_check TEXT COLLATE "C" NOT NULL,
    created_us    BIGINT NOT NULL
);

CREATE TABLE tenants (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name        TEXT COLLATE "C" NOT NULL,
    name_fold   TEXT COLLATE "C" NOT NULL UNIQUE,
    state       TEXT COLLATE "C" NOT NULL CHECK (state IN ('active', 'suspended')),
    quota_bytes BIGINT NOT NULL DEFAULT 0,
    used_bytes  BIGINT NOT NULL DEFAULT 0,
    created_us  BIGINT NOT NULL
);

CREATE TABLE domains (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id  TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    name       TEXT COLLATE "C" NOT NULL UNIQUE,
    alias_of   TEXT COLLATE "C" REFERENCES domains (id),
    created_us BIGINT NOT NULL
);
CREATE INDEX domains_tenant ON domains (tenant_id, name);

CREATE TABLE users (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id     TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    login         TEXT COLLATE "C" NOT NULL,
    login_fold    TEXT COLLATE "C" NOT NULL UNIQUE,
    password_hash TEXT COLLATE "C" NOT NULL,
    role          TEXT COLLATE "C" NOT NULL CHECK (role IN ('super_admin', 'tenant_admin', 'helpdesk', 'auditor', 'user')),
    disabled_us   BIGINT,
    created_us    BIGINT NOT NULL
);
CREATE INDEX users_tenant ON users (tenant_id, login_fold);

CREATE TABLE mailboxes (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id    TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    domain_id    TEXT COLLATE "C" NOT NULL REFERENCES domains (id),
    address      TEXT COLLATE "C" NOT NULL,
    address_fold TEXT COLLATE "C" NOT NULL UNIQUE,
    quota_bytes  BIGINT NOT NULL DEFAULT 0,
    used_bytes   BIGINT NOT NULL DEFAULT 0,
    messages     BIGINT NOT NULL DEFAULT 0,
    created_us   BIGINT NOT NULL
);
CREATE INDEX mailboxes_tenant ON mailboxes (tenant_id, address_fold);

CREATE TABLE mailbox_access (
    user_id    TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    mailbox_id TEXT COLLATE "C" NOT NULL REFERENCES mailboxes (id),
    tenant_id  TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    rights     TEXT COLLATE "C" NOT NULL CHECK (rights IN ('owner', 'read')),
    PRIMARY KEY (user_id, mailbox_id)
);
CREATE INDEX mailbox_access_mailbox ON mailbox_access (mailbox_id);

CREATE TABLE aliases (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id    TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    domain_id    TEXT COLLATE "C" NOT NULL REFERENCES domains (id),
    address      TEXT COLLATE "C" NOT NULL,
    address_fold TEXT COLLATE "C" NOT NULL UNIQUE,
    target       TEXT COLLATE "C" NOT NULL,
    created_us   BIGINT NOT NULL
);
CREATE INDEX aliases_tenant ON aliases (tenant_id, address_fold);

CREATE TABLE folders (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id   TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    mailbox_id  TEXT COLLATE "C" NOT NULL REFERENCES mailboxes (id),
    name        TEXT COLLATE "C" NOT NULL,
    uidvalidity BIGINT NOT NULL,
    uidnext     BIGINT NOT NULL,
    modseq      BIGINT NOT NULL,
    messages    BIGINT NOT NULL DEFAULT 0,
    created_us  BIGINT NOT NULL,
    UNIQUE (mailbox_id, name)
);

CREATE TABLE messages (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id       TEXT COLLATE "C" NOT NULL,
    mailbox_id      TEXT COLLATE "C" NOT NULL REFERENCES mailboxes (id),
    folder_id       TEXT COLLATE "C" NOT NULL REFERENCES folders (id),
    uid             BIGINT   NOT NULL,
    modseq          BIGINT   NOT NULL,
    delivery_id     TEXT COLLATE "C",
    object_key      TEXT COLLATE "C" NOT NULL,
    size_bytes      BIGINT   NOT NULL,
    digest          TEXT COLLATE "C" NOT NULL,
    received_us     BIGINT   NOT NULL,
    sent_us         BIGINT,
    subject         TEXT COLLATE "C" NOT NULL,
    from_name       TEXT COLLATE "C" NOT NULL,
    from_address    TEXT COLLATE "C" NOT NULL,
    preview         TEXT COLLATE "C" NOT NULL,
    summary         TEXT COLLATE "C" NOT NULL,
    has_attachments SMALLINT NOT NULL,
    envelope_from   TEXT COLLATE "C" NOT NULL,
    envelope_rcpt   TEXT COLLATE "C" NOT NULL,
    queue_id        TEXT COLLATE "C" NOT NULL,
    queue_host      TEXT COLLATE "C" NOT NULL,
    verdict         TEXT COLLATE "C" NOT NULL,
    score_milli     BIGINT   NOT NULL,
    tags            TEXT COLLATE "C" NOT NULL,
    flags           BIGINT   NOT NULL DEFAULT 0,
    deleted_us      BIGINT,
    indexed_us      BIGINT
);
CREATE UNIQUE INDEX messages_uid ON messages (folder_id, uid);
CREATE INDEX messages_folder ON messages (folder_id, id);
CREATE INDEX messages_mailbox ON messages (mailbox_id, id);
CREATE UNIQUE INDEX messages_delivery ON messages (delivery_id, mailbox_id) WHERE delivery_id IS NOT NULL;

CREATE TABLE sessions (
    token_hash  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    user_id     TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    client      TEXT COLLATE "C" NOT NULL,
    created_us  BIGINT NOT NULL,
    expires_us  BIGINT NOT NULL
);
CREATE INDEX sessions_expires ON sessions (expires_us);

CREATE TABLE api_keys (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id    TEXT COLLATE "C" REFERENCES tenants (id),
    name         TEXT COLLATE "C" NOT NULL,
    role         TEXT COLLATE "C" NOT NULL CHECK (role IN ('super_admin', 'tenant_admin', 'helpdesk', 'auditor')),
    prefix       TEXT COLLATE "C" NOT NULL,
    hash         TEXT COLLATE "C" NOT NULL UNIQUE,
    created_us   BIGINT NOT NULL,
    expires_us   BIGINT,
    last_used_us BIGINT
);

CREATE TABLE audit_log (
    at_us      BIGINT NOT NULL,
    id         TEXT COLLATE "C" NOT NULL,
    tenant_id  TEXT COLLATE "C",
    actor_kind TEXT COLLATE "C" NOT NULL,
    actor      TEXT COLLATE "C" NOT NULL,
    action     TEXT COLLATE "C" NOT NULL,
    target     TEXT COLLATE "C" NOT NULL,
    reason     TEXT COLLATE "C" NOT NULL,
    before     TEXT COLLATE "C" NOT NULL,
    after      TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (at_us, id)
);
CREATE INDEX audit_log_tenant ON audit_log (tenant_id, at_us, id);
