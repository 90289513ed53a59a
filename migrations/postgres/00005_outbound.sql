-- +goose Up
-- The outbound policy engine: levels of accounts and domains, what was decided and why, and what other processes must learn.

CREATE TABLE changes (
    seq       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_us     BIGINT NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    noun      TEXT COLLATE "C" NOT NULL,
    id        TEXT COLLATE "C" NOT NULL
);

CREATE TABLE outbound_accounts (
    tenant_id      TEXT COLLATE "C" NOT NULL,
    account        TEXT COLLATE "C" NOT NULL,
    level          TEXT COLLATE "C" NOT NULL DEFAULT 'normal' CHECK (level IN ('normal', 'soft_limit', 'hard_limit')),
    mode           TEXT COLLATE "C" NOT NULL DEFAULT '' CHECK (mode IN ('', 'off', 'shadow', 'enforce')),
    act            TEXT COLLATE "C" NOT NULL DEFAULT '',
    since_us       BIGINT,
    until_us       BIGINT,
    reason         TEXT COLLATE "C" NOT NULL DEFAULT '',
    ticket         TEXT COLLATE "C" NOT NULL DEFAULT '',
    actor_kind     TEXT COLLATE "C" NOT NULL DEFAULT '',
    actor          TEXT COLLATE "C" NOT NULL DEFAULT '',
    cap_per_hour   BIGINT NOT NULL DEFAULT 0,
    decision_at_us BIGINT,
    decision_id    TEXT COLLATE "C" NOT NULL DEFAULT '',
    revision       BIGINT NOT NULL DEFAULT 0,
    level_revision BIGINT NOT NULL DEFAULT 0,
    changed_us     BIGINT,
    sent_us        BIGINT,
    PRIMARY KEY (tenant_id, account)
);
CREATE INDEX outbound_accounts_account ON outbound_accounts (account, tenant_id);
CREATE INDEX outbound_accounts_changed ON outbound_accounts (tenant_id, account) WHERE revision > 0;
CREATE INDEX outbound_accounts_until ON outbound_accounts (until_us) WHERE until_us IS NOT NULL;

CREATE TABLE outbound_domains (
    tenant_id  TEXT COLLATE "C" NOT NULL,
    domain     TEXT COLLATE "C" NOT NULL,
    reason     TEXT COLLATE "C" NOT NULL,
    ticket     TEXT COLLATE "C" NOT NULL,
    actor_kind TEXT COLLATE "C" NOT NULL,
    actor      TEXT COLLATE "C" NOT NULL,
    since_us   BIGINT NOT NULL,
    until_us   BIGINT,
    PRIMARY KEY (tenant_id, domain)
);

CREATE TABLE outbound_modes (
    tenant_id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    mode       TEXT COLLATE "C" NOT NULL CHECK (mode IN ('off', 'shadow', 'enforce')),
    actor      TEXT COLLATE "C" NOT NULL,
    changed_us BIGINT NOT NULL
);

CREATE TABLE outbound_states (
    tenant_id  TEXT COLLATE "C" NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL CHECK (kind IN ('account', 'domain', 'tenant')),
    name       TEXT COLLATE "C" NOT NULL,
    day        BIGINT NOT NULL,
    state      BYTEA NOT NULL,
    revision   BIGINT NOT NULL DEFAULT 0,
    updated_us BIGINT NOT NULL,
    PRIMARY KEY (day, tenant_id, kind, name)
);
CREATE INDEX outbound_states_name ON outbound_states (tenant_id, kind, name);

CREATE TABLE outbound_decisions (
    at_us          BIGINT NOT NULL,
    id             TEXT COLLATE "C" NOT NULL,
    tenant_id      TEXT COLLATE "C" NOT NULL,
    account        TEXT COLLATE "C" NOT NULL,
    kind           TEXT COLLATE "C" NOT NULL,
    queue_host     TEXT COLLATE "C" NOT NULL,
    queue_id       TEXT COLLATE "C" NOT NULL,
    client         TEXT COLLATE "C" NOT NULL,
    mail_from      TEXT COLLATE "C" NOT NULL,
    messages       BIGINT NOT NULL,
    recipients     BIGINT NOT NULL,
    new_recipients BIGINT NOT NULL,
    refused        BIGINT NOT NULL,
    bounced        BIGINT NOT NULL,
    size_bytes     BIGINT NOT NULL,
    spam_milli     BIGINT,
    fingerprint    BIGINT NOT NULL,
    action         TEXT COLLATE "C" NOT NULL,
    reason         TEXT COLLATE "C" NOT NULL,
    level_before   TEXT COLLATE "C" NOT NULL,
    level_after    TEXT COLLATE "C" NOT NULL,
    would          TEXT COLLATE "C" NOT NULL,
    would_level    TEXT COLLATE "C" NOT NULL,
    score_micro    BIGINT NOT NULL,
    mode           TEXT COLLATE "C" NOT NULL,
    policy_hash    TEXT COLLATE "C" NOT NULL,
    reply          TEXT COLLATE "C" NOT NULL,
    event          BYTEA NOT NULL,
    explanation    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (at_us, id)
);
CREATE INDEX outbound_decisions_account ON outbound_decisions (account, at_us, id);
CREATE INDEX outbound_decisions_queue ON outbound_decisions (queue_host, queue_id, at_us) WHERE messages > 0;

CREATE TABLE outbound_daily (
    tenant_id      TEXT COLLATE "C" NOT NULL,
    account        TEXT COLLATE "C" NOT NULL,
    day            BIGINT NOT NULL,
    messages       BIGINT NOT NULL,
    recipients     BIGINT NOT NULL,
    new_recipients BIGINT NOT NULL,
    refused        BIGINT NOT NULL,
    bounced        BIGINT NOT NULL,
    limited        BIGINT NOT NULL,
    stopped        BIGINT NOT NULL,
    score_micro    BIGINT NOT NULL,
    PRIMARY KEY (account, tenant_id, day)
);
CREATE INDEX outbound_daily_day ON outbound_daily (day);

CREATE TABLE outbound_history (
    at_us          BIGINT NOT NULL,
    id             TEXT COLLATE "C" NOT NULL,
    tenant_id      TEXT COLLATE "C" NOT NULL,
    noun           TEXT COLLATE "C" NOT NULL,
    name           TEXT COLLATE "C" NOT NULL,
    act            TEXT COLLATE "C" NOT NULL,
    level_before   TEXT COLLATE "C" NOT NULL,
    level_after    TEXT COLLATE "C" NOT NULL,
    mode           TEXT COLLATE "C" NOT NULL,
    reason         TEXT COLLATE "C" NOT NULL,
    ticket         TEXT COLLATE "C" NOT NULL,
    actor_kind     TEXT COLLATE "C" NOT NULL,
    actor          TEXT COLLATE "C" NOT NULL,
    until_us       BIGINT,
    cap_per_hour   BIGINT NOT NULL,
    decision_at_us BIGINT,
    decision_id    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (at_us, id)
);
CREATE INDEX outbound_history_name ON outbound_history (name, noun, at_us, id);

CREATE TABLE outbound_profiles (
    tenant_id   TEXT COLLATE "C" NOT NULL,
    id          TEXT COLLATE "C" NOT NULL,
    accounts    TEXT COLLATE "C" NOT NULL,
    max_rate    TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C" NOT NULL,
    actor       TEXT COLLATE "C" NOT NULL,
    changed_us  BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
