package config_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/config"
)

func TestDiffTellsWhatAppliesAtOnceFromWhatNeedsARestart(t *testing.T) {
	load := func(text string) *config.Config {
		c, _, err := config.Load(write(t, text))
		require.NoError(t, err)
		return c
	}
	for _, row := range []struct {
		name, old, new string
		live, restart  []string
	}{
		{"nothing", "log: {level: info}", "# default", nil, nil},
		{
			"outbound policy", "outbound: {mode: shadow}", "outbound: {mode: enforce, auto_suspend: false, limits: {user_per_hour: 100}}\noutbound_whitelist: [{id: n, accounts: [a@example.com], max_rate: 10/day}]",
			[]string{"outbound.mode", "outbound.auto_suspend", "outbound.limits.user_per_hour", "outbound_whitelist"}, nil,
		},
		{"level", "", "log: {level: debug}", []string{"log.level"}, nil},
		{"listeners count as one", "", "ops: {listeners: [{address: 'inet:127.0.0.1:1'}, {address: 'inet:127.0.0.1:2'}]}", nil, []string{"ops.listeners"}},
		{"one listener's mode", "ops: {listeners: [{address: 'unix:/x'}]}", "ops: {listeners: [{address: 'unix:/x', socket_mode: 0600}]}", nil, []string{"ops.listeners"}},
		{"a section that is new", "", "storage: {previous: {backend: fs, options: {base_path: /old}}}", nil, []string{"storage.previous"}},
		{"a section that is gone", "storage: {previous: {backend: fs, options: {base_path: /old}}}", "", nil, []string{"storage.previous"}},
		{"fewer listeners", "", "ops: {listeners: []}", nil, []string{"ops.listeners"}},
		{
			"what follows from another key", "secrets: {keyring: 'file:/k'}", "secrets: {keyring: 'file:/k'}\nrun_dir: /tmp/r\nlog: {level: warn, format: text}",
			[]string{"log.level"}, []string{"run_dir", "milter.listeners", "lmtp.listeners", "lookup.listeners", "log.format"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			live, restart := config.Diff(load(row.old), load(row.new))
			require.Equal(t, row.live, live)
			require.Equal(t, row.restart, restart)
		})
	}
}
