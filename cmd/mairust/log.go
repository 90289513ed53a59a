package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/lmittmann/tint"

	"github.com/mairust/mairust/internal/config"
)

// newLog makes the daemon's log on w: one JSON object a line, or text for people. The level can be changed later.
func newLog(w io.Writer, o config.Log) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(logLevel(o.Level))
	if o.Format == "text" {
		return slog.New(tint.NewTextHandler(w, &tint.Options{
			Level: level, TimeFormat: time.DateTime, NoColor: !isTerminal(w), ReplaceAttr: printable,
		})), level
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: logNames})), level
}

// logNames gives the standard fields the names that the documentation promises, and durations their unit.
func logNames(groups []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.Float64(a.Key+"_ms", float64(a.Value.Duration().Microseconds())/1000)
	}
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.TimeKey:
		return slog.String("timestamp", a.Value.Time().UTC().Format(time.RFC3339Nano))
	case slog.MessageKey:
		a.Key = "message"
	}
	return a
}

// printable keeps what strangers chose from steering the operator's terminal; JSON is escaped anyway.
func printable(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(stripControls(a.Value.String()))
	case slog.KindAny:
		if _, ok := a.Value.Any().(slog.Level); !ok {
			a.Value = slog.StringValue(stripControls(fmt.Sprintf("%+v", a.Value.Any())))
		}
	}
	return a
}

// stripControls puts a question mark for what cannot be printed. Line ends and tabs stay, since the handler quotes
// them. It also breaks up a spelled-out \x1b, of which the handler would make an escape character.
func stripControls(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || r != '\n' && r != '\t' && !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r) {
			return '?'
		}
		return r
	}, s)
	return strings.ReplaceAll(s, `\x1b`, `\x1B`)
}

func logLevel(word string) slog.Level {
	var level slog.Level
	// The configuration was checked: the word is debug, info, warn or error.
	if err := level.UnmarshalText([]byte(word)); err != nil {
		return slog.LevelInfo
	}
	return level
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
