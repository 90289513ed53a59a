package ui

import (
	"fmt"
	"strconv"
	"time"
)

// shownTime is a time as the page tells it: Text for people, Zone for who hovers, ISO for programs.
type shownTime struct{ Text, Zone, ISO string }

var japaneseDays = [...]string{"日", "月", "火", "水", "木", "金", "土"}

// Time tells a time in the page's language and zone; empty for the zero time.
func (p *page) Time(t time.Time) shownTime {
	if t.IsZero() {
		return shownTime{}
	}
	t = t.In(p.zone)
	text := t.Format("2 Jan 2006 15:04")
	if p.Lang == "ja" {
		text = t.Format("2006/01/02") + "(" + japaneseDays[t.Weekday()] + ") " + t.Format("15:04")
	}
	name := t.Location().String()
	return shownTime{Text: text, Zone: t.Format("15:04:05 MST (-07:00)") + " " + name, ISO: t.Format(time.RFC3339)}
}

// Lasting tells a duration in two units at most, such as "2 h 10 m".
func (p *page) Lasting(d time.Duration) string {
	minutes := max(0, int64(d/time.Minute))
	days, hours := minutes/(24*60), minutes/60%24
	switch {
	case days > 0:
		return p.T("lasting.days", "d", days, "h", hours)
	case hours > 0:
		return p.T("lasting.hours", "h", hours, "m", minutes%60)
	default:
		return p.T("lasting.minutes", "m", minutes)
	}
}

// Num tells a number with its thousands set apart, as in both languages.
func (p *page) Num(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Size tells a number of bytes in powers of 1024, as mail programs do.
func (p *page) Size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1024, "kB"
	for _, next := range []string{"MB", "GB", "TB"} {
		if value < 999.5 {
			break
		}
		value, unit = value/1024, next
	}
	if value < 9.95 {
		return fmt.Sprintf("%.1f %s", value, unit)
	}
	return fmt.Sprintf("%.0f %s", value, unit)
}
