package mail_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
)

func TestMergeTakesTheGreatestActionAndItsFirstReply(t *testing.T) {
	first, second := &mail.Reply{Code: 550, Enhanced: "5.7.1", Text: "first"}, &mail.Reply{Code: 554, Text: "second"}
	v := mail.Merge(
		mail.Verdict{Action: mail.Tag, Tags: []string{"a", "b"}, Score: -3, Metadata: map[string]json.RawMessage{"x": []byte("1")}},
		mail.Verdict{Action: mail.Reject, Reply: first, Tags: []string{"b", "c"}, Score: -5, Reasons: []string{"r1"}},
		mail.Verdict{Action: mail.Reject, Reply: second, Reasons: []string{"r2"}, Score: -4, Metadata: map[string]json.RawMessage{"y": []byte("2")}},
	)
	require.Equal(t, mail.Verdict{
		Action: mail.Reject, Reply: first, Tags: []string{"a", "b", "c"}, Score: -3, Reasons: []string{"r1", "r2"},
		Metadata: map[string]json.RawMessage{"x": []byte("1"), "y": []byte("2")},
	}, v)
	require.Equal(t, "550 5.7.1 first", v.Reply.String())
	require.Equal(t, mail.Verdict{}, mail.Merge())
}

func TestActionWordsAreReadBack(t *testing.T) {
	for a := mail.Allow; a <= mail.Reject; a++ {
		got, err := mail.ParseAction(a.String())
		require.NoError(t, err)
		require.Equal(t, a, got)
	}
	_, err := mail.ParseAction("drop")
	require.ErrorContains(t, err, `unknown action "drop"`)
	require.Equal(t, "action(9)", mail.Action(9).String())
}

func TestClean(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"plain", 0, "plain"},
		{"plain", 3, "pla"},
		{"ああ", 5, "あ"},
		{"a\x00b\xff", 0, "a\uFFFDb\uFFFD"},
		{"a\x00b", 3, "a"},
		{"\xff\xff\xff", 2, ""},
	} {
		require.Equal(t, tt.want, mail.Clean(tt.in, tt.limit), "%q", tt.in)
	}
	require.LessOrEqual(t, len(mail.Clean(strings.Repeat("\xff", 1000), 100)), 100)
}
