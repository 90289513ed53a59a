-- +goose Up
-- The history of accounts and tenants tells of bulk profiles too: which one, and its rate. What is not about one account is
-- listed for the whole tenant.

ALTER TABLE outbound_history ADD COLUMN detail TEXT NOT NULL DEFAULT '';
CREATE INDEX outbound_history_tenant ON outbound_history (tenant_id, at_us, id) WHERE noun <> 'account';
