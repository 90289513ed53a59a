package main

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"

	"github.com/lmittmann/tint"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/config"
)

func TestTextLogHasNoControlCharactersOfStrangers(t *testing.T) {
	for name, hostile := range map[string]any{
		"escape":     "/x\x1b]0;owned\x07\x1b[2J",
		"spelled":    `/x y\x1b[2J`,
		"error":      errors.New("no \x1b[2J"),
		"carriage":   "fine\rWRN forged",
		"bad UTF-8":  "\xff\x9b2J",
		"C1 control": "\u009b2J",
		"right-left": "\u202egpj.exe",
		"list":       []string{"a\x1b[2J"},
	} {
		for _, colour := range []bool{false, true} {
			var b bytes.Buffer
			log := slog.New(tint.NewTextHandler(&b, &tint.Options{NoColor: !colour, ReplaceAttr: printable}))
			log.Info("request", "path", hostile)
			require.NotContains(t, b.String(), "\x1b[2J", name)
			require.NotContains(t, b.String(), "\x1b]", name)
			require.NotRegexp(t, "[\x07\r\u009b\u202e\ufffd]", b.String(), name)
		}
	}
	var b bytes.Buffer
	log, _ := newLog(&b, config.Log{Level: "info", Format: "text"})
	log.With("component", "api\x1b[2J").Warn("request", "path", "/メール", "n", 3, "err", errors.New("x\x1by"))
	require.Contains(t, b.String(), "/メール")
	require.Contains(t, b.String(), "WRN")
	require.Contains(t, b.String(), "err=x?y")
	require.NotContains(t, b.String(), "\x1b")
}
