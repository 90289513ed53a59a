-- +goose Up
-- When a work was last done, by the clock of who did it: what goes by age needs to know that this clock goes on from there.

ALTER TABLE worker_days ADD COLUMN at_us BIGINT;
