-- +goose Up
-- What people need who read: passwords for programs, links that log in once, how they like the pages, and the UIDs
-- that are gone, for IMAP.

CREATE TABLE app_passwords (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id    TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    user_id      TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    name         TEXT COLLATE "C" NOT NULL,
    hash         TEXT COLLATE "C" NOT NULL UNIQUE,
    created_us   BIGINT NOT NULL,
    last_used_us BIGINT
);
CREATE INDEX app_passwords_user ON app_passwords (user_id, id);

CREATE TABLE login_links (
    token_hash TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    user_id    TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    created_us BIGINT NOT NULL,
    expires_us BIGINT NOT NULL
);

CREATE TABLE expunged (
    folder_id TEXT COLLATE "C" NOT NULL REFERENCES folders (id),
    uid       BIGINT NOT NULL,
    modseq    BIGINT NOT NULL,
    PRIMARY KEY (folder_id, uid)
);
CREATE INDEX expunged_modseq ON expunged (folder_id, modseq);

ALTER TABLE users ADD COLUMN language TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN theme TEXT COLLATE "C" NOT NULL DEFAULT '';
