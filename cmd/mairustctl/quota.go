package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/cmd/internal/command"
)

func quotaHelp(whose string) string {
	return fmt.Sprintf(`Limits how many bytes the messages of a %s may have together. Mail that would exceed it is
deferred (452 4.2.2): whoever brings it tries again. What is there stays, whatever the limit.

SIZE is a number with a unit: kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024), or none for no limit.`, whose)
}

// quotaCall reads the SIZE of a call, and the global flags.
func quotaCall(cmd *cobra.Command, text string) (*session, wire.Quota, error) {
	bytes, err := parseSize(text)
	if err != nil {
		return nil, wire.Quota{}, command.Misuse(cmd, err)
	}
	s, err := connect(cmd)
	return s, wire.Quota{QuotaBytes: bytes}, err
}

// maxQuota is the largest that the server takes.
const maxQuota = 1<<53 - 1

// parseSize reads a size in bytes; none is 0. A bare number needs a unit, or is it meant in MB?
func parseSize(text string) (int64, error) {
	text = strings.TrimSpace(text)
	if strings.EqualFold(text, "none") {
		return 0, nil
	}
	n, err := humanize.ParseBytes(text)
	if err != nil || n == 0 || strings.Contains(text, ",") || strings.Trim(text, "0123456789.") == "" {
		return 0, fmt.Errorf("SIZE is a number with a unit such as 500MB or 2.5GiB, or none, and not %q", text)
	}
	if n > maxQuota {
		return 0, fmt.Errorf("%s is more than the largest quota, 9 PB", text)
	}
	return int64(n), nil
}

// limited tells what a quota is now, and whether it is exceeded already.
func (s *session) limited(v any, name string, used, quota int64) error {
	if quota > 0 && used >= quota {
		s.note("It is full: mail for it is deferred until there is room.", "すでに上限に達しています。空きができるまで、届くメールには一時エラー（452 4.2.2）を返します。")
	}
	return s.show(v, func() error {
		return s.line(s.say("%s: quota %s, used %s", "%s: 容量制限 %s、使用量 %s"), name, s.quota(quota), size(used))
	})
}

// size is a number of bytes for people, in three digits.
func size(bytes int64) string {
	if bytes < 1000 {
		return fmt.Sprintf("%d B", max(bytes, 0))
	}
	return humanize.BytesN(uint64(bytes), 3)
}

func (p printer) quota(bytes int64) string {
	if bytes == 0 {
		return p.header("none")
	}
	return size(bytes)
}

// share is how full something is, in percent; empty without a limit. It is 100 when it is full, not before.
func share(used, quota int64) string {
	if quota <= 0 {
		return ""
	}
	return fmt.Sprintf("%.0f %%", math.Floor(100*float64(used)/float64(quota)))
}
