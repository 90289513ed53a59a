package mailer

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/smtp"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// slow is a server that takes its time, at the other end of a pipe, on a clock that moves when everybody waits.
type slow struct {
	// before is waited before the reply to a line, by its first word.
	before map[string]time.Duration
	// asked is called before that; may be nil.
	asked func(word string)
}

const never = 100 * time.Hour

func (s slow) serve(conn net.Conn) {
	defer conn.Close()
	say := func(word, reply string) bool {
		if s.asked != nil {
			s.asked(word)
		}
		time.Sleep(s.before[word]) // within synctest: no time is lost
		_, err := conn.Write([]byte(reply + "\r\n"))
		return err == nil
	}
	if !say("", "220 mx.test") {
		return
	}
	inside := false
	for lines := bufio.NewReader(conn); ; {
		text, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		text = strings.TrimSpace(text)
		word, _, _ := strings.Cut(text, " ")
		switch {
		case inside && text != ".":
			continue
		case word == "DATA":
			inside = say(word, "354 go on")
		default:
			inside = false
			if !say(word, "250 Ok") {
				return
			}
		}
	}
}

// sendSlowly sends a letter to a slow server, within a bubble of synctest, and calls sent when that is done or has failed.
func sendSlowly(ctx context.Context, t *testing.T, s slow, sent func()) error {
	t.Helper()
	here, there := net.Pipe()
	ended := make(chan struct{})
	go func() { defer close(ended); s.serve(there) }()
	m, err := New(Options{Address: "127.0.0.1:25", From: "a@host.test", To: []string{"b@host.test"}}, "host.test")
	require.NoError(t, err)
	err = m.converse(ctx, here, time.Now().Add(sendTimeout), func(c *smtp.Client, reply func() error) error {
		_, err := m.talk(c, Letter{Subject: "Disk space: failing", Text: "/var: 2 % free\n"}, reply)
		return err
	})
	sent()
	_ = there.Close()
	<-ended
	return err
}

func TestServerHasTenMinutesForItsWordOnALetterAndAnythingElseHalfAMinute(t *testing.T) {
	for name, c := range map[string]struct {
		before map[string]time.Duration
		want   error
		takes  time.Duration
	}{
		"its word comes late":       {map[string]time.Duration{".": 9 * time.Minute}, nil, 9 * time.Minute},
		"all comes late":            {map[string]time.Duration{"DATA": 29 * time.Second, ".": 9 * time.Minute, "QUIT": never}, nil, 9*time.Minute + 30*time.Second},
		"no goodbye":                {map[string]time.Duration{"QUIT": never}, nil, time.Second},
		"its word does not come":    {map[string]time.Duration{".": never}, ErrUnsure, 10 * time.Minute},
		"the letter is not begun":   {map[string]time.Duration{"DATA": never}, os.ErrDeadlineExceeded, 30 * time.Second},
		"half a minute is for all":  {map[string]time.Duration{"MAIL": 20 * time.Second, "RCPT": 20 * time.Second}, os.ErrDeadlineExceeded, 30 * time.Second},
		"there is no greeting":      {map[string]time.Duration{"": never}, os.ErrDeadlineExceeded, 30 * time.Second},
		"a greeting, and no letter": {map[string]time.Duration{"": 29 * time.Second, "EHLO": never}, os.ErrDeadlineExceeded, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				err := sendSlowly(t.Context(), t, slow{before: c.before}, func() {
					assert.Equal(t, c.takes, time.Since(began))
					assert.Less(t, time.Since(began), SendTakes)
				})
				require.ErrorIs(t, err, c.want)
				assert.Equal(t, c.want == ErrUnsure, errors.Is(err, ErrUnsure)) //nolint:errorlint // of the table
			})
		})
	}
}

func TestWhoIsStoppedWaitsALittleForTheWordOnALetter(t *testing.T) {
	for name, c := range map[string]struct {
		at    string
		reply time.Duration
		want  error
		takes time.Duration
	}{
		"the word comes":                 {".", 4 * time.Second, nil, 4 * time.Second},
		"it does not":                    {".", never, ErrUnsure, 5 * time.Second},
		"the letter is not sent yet":     {"DATA", 4 * time.Second, context.Canceled, 0},
		"the goodbye changes no outcome": {"QUIT", never, nil, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				began := time.Now()
				s := slow{before: map[string]time.Duration{c.at: c.reply}, asked: func(word string) {
					if word == c.at {
						cancel()
					}
				}}
				err := sendSlowly(ctx, t, s, func() { assert.Equal(t, c.takes, time.Since(began)) })
				require.ErrorIs(t, err, c.want)
				assert.Equal(t, c.want == ErrUnsure, errors.Is(err, ErrUnsure)) //nolint:errorlint // of the table
			})
		})
	}
}
