-- +goose Up
-- How many objects without a row the last complete sweep or repair has kept where they are: they are no sign that the database has lost rows.

ALTER TABLE sweep_state ADD COLUMN kept BIGINT NOT NULL DEFAULT 0;
