-- +goose Up
-- Which recipients of the operator the keys of tenants were last encrypted anew to: who was started with others makes no key.

ALTER TABLE installation ADD COLUMN operator_check TEXT COLLATE "C" NOT NULL DEFAULT '';
