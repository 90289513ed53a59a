package mail_test

import (
	netmail "net/mail"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
)

func TestDatesOfRealMailAreRead(t *testing.T) {
	for in, want := range map[string]string{
		"Mon, 15 Jan 2024 10:00:00 +0900":                         "2024-01-15T10:00:00+09:00",
		"Mon, 15 Jan 2024 10:00:00 +09:00":                        "2024-01-15T10:00:00+09:00",
		"Mon, 15 Jan 2024 10:00:00 -03:30":                        "2024-01-15T10:00:00-03:30",
		"Mon, 15 Jan 2024 10:00:00 +09":                           "2024-01-15T10:00:00+09:00",
		"Mon, 15 Jan 2024 10:00:00+0900":                          "2024-01-15T10:00:00+09:00",
		"Mon, 15 Jan 2024 10:00:00JST":                            "2024-01-15T10:00:00+09:00",
		"Mon, 15 Jan 2024 10:00:00 GMT+0900":                      "2024-01-15T10:00:00+09:00",
		"Mon, 15 Jan 2024 10:00:00 +0900 JST":                     "2024-01-15T10:00:00+09:00",
		"Mon Jan 15 2024 10:00:00 GMT+0900 (Japan Standard Time)": "2024-01-15T10:00:00+09:00",
		"Mon,15 Jan 2024 10:00:00 +0900":                          "2024-01-15T10:00:00+09:00",
		"Mon , 15 Jan 2024 , 10:00 +0900":                         "2024-01-15T10:00:00+09:00",
		"mon 15 JAN 2024 10:00:00 +0900":                          "2024-01-15T10:00:00+09:00",
		"Monday, 15 January 2024 10:00:00 +0900":                  "2024-01-15T10:00:00+09:00",
		"Mon., 15 Jan. 2024 10:00:00 +0900":                       "2024-01-15T10:00:00+09:00",
		"Tues, 3 Sept 2024 9:05:03 +0900":                         "2024-09-03T09:05:03+09:00",
		"January 15, 2024 10:00:00 +0900":                         "2024-01-15T10:00:00+09:00",
		"15-Jan-2024 10:00:00 +0900":                              "2024-01-15T10:00:00+09:00",
		"Monday, 15-Jan-24 10:00:00 JST":                          "2024-01-15T10:00:00+09:00",
		"15 Jan 49 10:00:00 +0000":                                "2049-01-15T10:00:00Z",
		"15 Jan 99 10:00:00 +0000":                                "1999-01-15T10:00:00Z",
		"15 Jan 124 10:00:00 +0000":                               "2024-01-15T10:00:00Z",
		"Sat, 31 Dec 2016 23:59:60 +0000":                         "2017-01-01T00:00:00Z",
		"Mon, 15 Jan 2024 10:00:60 +0900":                         "2024-01-15T10:01:00+09:00",
		"Mon (x), 15 (y(z)) Jan 2024 10:00:00 (\\) here) +0900":   "2024-01-15T10:00:00+09:00",
		"(early)Mon, 15 Jan 2024 10:00:00 +0900 (never closed":    "2024-01-15T10:00:00+09:00",
		"Mon,\r\n 15 Jan 2024\r\n\t10:00:00 +0900":                "2024-01-15T10:00:00+09:00",
		"Mon, 15 Jan 2024 10:00:00 -0000":                         "2024-01-15T10:00:00Z",
		"Mon, 15 Jan 2024 10:00:00 CEST":                          "2024-01-15T10:00:00Z",
		"Mon, 15 Jan 2024 10:00":                                  "2024-01-15T10:00:00Z",
		"Mon Jan 15 10:00:00 JST 2024":                            "2024-01-15T10:00:00+09:00",
		"Mon Jan 15 10:00:00 -0700 2024":                          "2024-01-15T10:00:00-07:00",
		"2024-01-15T10:00:00.123+09:00":                           "2024-01-15T10:00:00+09:00",
		"2024-01-15T10:00:00+0900":                                "2024-01-15T10:00:00+09:00",
		"2024-01-15T10:00:00Z":                                    "2024-01-15T10:00:00Z",
		"2024-01-15 10:00:00 +0900":                               "2024-01-15T10:00:00+09:00",
		"2024/1/15 10:00:00":                                      "2024-01-15T10:00:00Z",
		"Thu, 29 Feb 2024 10:00:00 +0900":                         "2024-02-29T10:00:00+09:00",
	} {
		require.Equal(t, want, mail.ParseDate(in).Format(time.RFC3339), "%q", in)
		s := summarize(t, []byte("From: a@b.test\r\nDate: "+in+"\r\n\r\n"))
		require.Equal(t, mail.ParseDate(in).UTC(), s.Date, "%q", in)
	}
}

func TestDatesThatDoNotExistAreNotRead(t *testing.T) {
	for _, in := range []string{
		"", "now", "Mon", "15 Jan 2024", "10:00:00 +0900", "Jan 2024 10:00:00", "15 2024 10:00:00", "Mon, Jan 2024 10:00:00 +0900",
		"Wed, 30 Feb 2024 10:00:00 +0900", "Wed, 29 Feb 2023 10:00:00 +0900", "31-Apr-2024 10:00:00 +0900", "0 Jan 2024 10:00:00", "32 Jan 2024 10:00:60",
		"2024-13-15 10:00:00", "2024-00-15 10:00:00", "24-01-15 10:00:00", "15-01-2024 10:00:00", "1/15/2024 10:00:00",
		"Mon, 15 Jan 2024 24:00:00 +09:00", "Mon, 15 Jan 2024 10:60:00 +09:00", "Mon, 15 Jan 2024 10:00:61 +0900", "Mon, 15 Jan 2024 10 +0900", "Mon, 15 Jan 2024 :: +0900",
		"Mon, 15 Jan 2024 10:00:00 +09:60", "Mon, 15 Jan 2024 10:00:00 +2400x", "Mon, 15 Jan 2024 10:00:00 +9", "Mon, 15 Jan 2024 10:00:00 +090", "Mon, 15 Jan 2024 10:00:00 +9900",
		"15 Jan 2024 10:00 +:9", "15 Jan 2024 10:00+:9", "15 Jan 2024 10:00 GMT-:9", "15 Jan 2024 10:00 -:", "15 Jan 2024 10:00 +::", "15 Jan 2024 10:00 +9:",
		"Mon, 15 Jan 2024 10:00:00 +0900 +0900", "Mon, 15 Jan 2024 10:00:00 10:00:00", "Mon, 15 Jan 2024 10:00:00 JST JST", "Mon, 15 Jan 2024 2024 10:00:00",
		"Mon, 15 Jan 2024 10:00:00 PM", "Mon, 15 Foo 2024 10:00:00", "15 Jan 20245 10:00:00", "15 Jan 5 10:00:00", "15 Jan 69 10:00:00 +0000", "15 Jan 0024 10:00:00", "-15 Jan 2024 10:00:00",
		"15 Jan 2024 10:00:00 + 0900", "15 Jan 2024 10A:00", "15 Jan 2024 0.:1", "Mo, 15 Jan 2024 10:00:00 +0900 x y", strings.Repeat("(", 2000) + "15 Jan 2024 10:00:00",
	} {
		require.Zero(t, mail.ParseDate(in), "%q", in)
	}
}

// numericZone: of others net/mail knows only those of the place where it runs.
var numericZone = regexp.MustCompile(`:\d\d [+-]\d{4}$`)

// FuzzParseDate compares with net/mail, which is stricter.
func FuzzParseDate(f *testing.F) {
	for _, s := range []string{"Mon, 15 Jan 2024 10:00:00 +0900 (JST)", "15 Jan 24 10:00 GMT", "Mon Jan 15 10:00:00 JST 2024", "2024-01-15T10:00:60.5+09:00", "15-Jan-2024 (x) 1:2", "15 Jan 2024 1:2 GMT+:9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got := mail.ParseDate(in)
		if got.IsZero() {
			return
		}
		require.True(t, got.UTC().Year() >= 1970 && got.UTC().Year() <= 9999, "%q", in)
		if want, err := netmail.ParseDate(in); err == nil && numericZone.MatchString(in) && want.Year() < 2050 {
			require.Equal(t, want.UTC(), got.UTC(), "%q", in)
		}
	})
}
