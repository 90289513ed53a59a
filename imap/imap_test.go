package imap_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

const plainMail = "Return-Path: <a@sender.test>\r\nFrom: \"A, B\" <a@sender.test>\r\nTo: bob@acme.test\r\nSubject: hello\r\n" +
	"Date: Wed, 4 Mar 2026 05:06:07 +0900\r\nMessage-ID: <1@sender.test>\r\n\r\nline 1\r\nline 2\r\n"

const mixedMail = "Return-Path: <a@sender.test>\r\nFrom: a@sender.test\r\nSubject: =?iso-2022-jp?B?GyRCMnE1RBsoQg==?=\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: multipart/mixed; boundary=b1\r\n\r\nprologue\r\n--b1\r\nContent-Type: text/plain; charset=iso-2022-jp\r\n\r\n" +
	"\x1b$B@A5a=q\x1b(B\r\n--b1\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\nFrom: c@d.test\r\n\r\ninner text\r\n--b1\r\n" +
	"Content-Type: application/pdf; name=\"a.pdf\"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\n" +
	"QUJD\r\n--b1--\r\nepilogue\r\n"

func TestClientReadsItsMailbox(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		x := newSite(t, s, "bob")
		x.deliver(t, "bob", store.Inbox, plainMail, mixedMail)
		w := x.login(t, "bob")
		require.Equal(t, []string{
			`* LIST (\HasNoChildren) "/" INBOX`,
			`* LIST (\HasNoChildren \Archive) "/" "Archive"`,
			`* LIST (\HasNoChildren \Junk) "/" "Quarantine"`,
			`* LIST (\HasNoChildren \Trash) "/" "Trash"`,
		}, w.ok(`LIST "" *`))
		untagged, tagged := w.do("SELECT inbox")
		require.Contains(t, tagged, "OK [READ-ONLY]")
		require.Contains(t, untagged, "* 2 EXISTS")
		require.Contains(t, untagged, "* OK [UNSEEN 1] The first unseen message")
		require.Equal(t, []string{
			`* 1 FETCH (FLAGS () INTERNALDATE " 4-Mar-2026 05:06:07 +0000" RFC822.SIZE ` + fmt.Sprint(len(plainMail)) +
				` ENVELOPE ("Wed, 4 Mar 2026 05:06:07 +0900" "hello" (("A, B" NIL "a" "sender.test")) (("A, B" NIL "a" "sender.test"))` +
				` (("A, B" NIL "a" "sender.test")) ((NIL NIL "bob" "acme.test")) NIL NIL NIL "<1@sender.test>")` +
				` BODY ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 16 2))`,
		}, w.ok("FETCH 1 FULL"))
		require.Equal(t, []string{"* 2 FETCH (UID 2 BODY[] {" + fmt.Sprint(len(mixedMail)) + "}\r\n" + mixedMail + ")"},
			w.ok("UID FETCH 2 BODY[]"))
		require.Equal(t, []string{"* 2 FETCH (FLAGS ())"}, w.ok("FETCH 2 FLAGS"), "BODY[] sets no flag")
	})
}

func TestEverySectionIsFound(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		x := newSite(t, s, "bob")
		x.deliver(t, "bob", store.Inbox, mixedMail, plainMail)
		w := x.login(t, "bob")
		w.ok("EXAMINE INBOX")
		header, body, _ := strings.Cut(mixedMail, "\r\n\r\n")
		for section, want := range map[string]string{
			"HEADER":                            header + "\r\n\r\n",
			"TEXT":                              body,
			"1":                                 "\x1b$B@A5a=q\x1b(B",
			"1.MIME":                            "Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n",
			"2":                                 "Subject: inner\r\nFrom: c@d.test\r\n\r\ninner text",
			"2.HEADER":                          "Subject: inner\r\nFrom: c@d.test\r\n\r\n",
			"2.TEXT":                            "inner text",
			"2.1":                               "inner text",
			"2.MIME":                            "Content-Type: message/rfc822\r\n\r\n",
			"2.HEADER.FIELDS (from)":            "From: c@d.test\r\n\r\n",
			"2.HEADER.FIELDS.NOT (from)":        "Subject: inner\r\n\r\n",
			"3":                                 "QUJD",
			"HEADER.FIELDS (SUBJECT MISSING)":   "Subject: =?iso-2022-jp?B?GyRCMnE1RBsoQg==?=\r\n\r\n",
			"HEADER.FIELDS.NOT (Return-Path X)": strings.TrimPrefix(header, "Return-Path: <a@sender.test>\r\n") + "\r\n\r\n",
		} {
			got := w.ok("FETCH 1 BODY.PEEK[%s]", section)
			require.Equal(t, want, content(t, got[0]), section)
			partial := w.ok("FETCH 1 BODY.PEEK[%s]<3.5>", section)
			require.Contains(t, partial[0], "]<3> ")
			require.Equal(t, want[min(3, len(want)):min(8, len(want))], content(t, partial[0]), section)
		}
		for _, section := range []string{"4", "1.1", "1.HEADER", "3.TEXT", "2.2"} {
			require.Equal(t, []string{"* 1 FETCH (BODY[" + section + "] NIL)"}, w.ok("FETCH 1 BODY[%s]", section))
		}
		require.Equal(t, []string{"* 2 FETCH (BODY[1] {16}\r\nline 1\r\nline 2\r\n)"}, w.ok("FETCH 2 BODY[1]"))
		require.Equal(t, []string{"* 2 FETCH (RFC822.TEXT {16}\r\nline 1\r\nline 2\r\n)"}, w.ok("FETCH 2 RFC822.TEXT"))
		require.Equal(t, []string{`* 2 FETCH (BODY[]<1000> "")`},
			[]string{strings.Replace(w.ok("FETCH 2 BODY[]<1000.10>")[0], "{0}\r\n", `""`, 1)})
	})
}

// content is the one string of a FETCH response.
func content(t *testing.T, response string) string {
	t.Helper()
	_, rest, found := strings.Cut(response, "] ")
	if i := strings.Index(response, ">"); strings.Contains(response, "]<") {
		rest, found = response[i+2:], true
	}
	require.True(t, found, response)
	rest = strings.TrimSuffix(rest, ")")
	if strings.HasPrefix(rest, `"`) {
		return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(rest[1 : len(rest)-1])
	}
	_, rest, _ = strings.Cut(rest, "\r\n")
	return rest
}

func TestEveryWriteIsRefusedAndNothingBreaks(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		x := newSite(t, s, "bob")
		x.deliver(t, "bob", store.Inbox, plainMail)
		w := x.login(t, "bob")
		w.ok("SELECT INBOX")
		for _, command := range []string{
			`STORE 1 +FLAGS (\Seen)`, `UID STORE 1 FLAGS.SILENT ()`, "COPY 1 Trash", "UID COPY 1 Trash", "MOVE 1 Trash", "UID MOVE 1 Trash",
			"EXPUNGE", "UID EXPUNGE 1", "CREATE x", "DELETE Trash", "RENAME Trash x", "UNSUBSCRIBE INBOX",
			"APPEND INBOX {3+}\r\nabc", "APPEND {5+}\r\nTrash (\\Seen) \" 4-Mar-2026 05:06:07 +0000\" {200000+}\r\n" + strings.Repeat("x", 200000),
		} {
			w.refused("NO [NOPERM]", "%s", command)
		}
		w.send("s APPEND INBOX {4}\r\n")
		require.Equal(t, "+ OK", w.line())
		w.send("abcd\r\n")
		require.Contains(t, w.line(), "s NO [NOPERM]")
		w.ok("SUBSCRIBE INBOX")
		w.refused("NO [NONEXISTENT]", "SUBSCRIBE nowhere")
		require.Equal(t, []string{"* 1 FETCH (FLAGS ())"}, w.ok("FETCH 1 FLAGS"))
		w.ok("CLOSE")
		w.refused("BAD", "FETCH 1 FLAGS")
	})
}

func TestLoginsNeedCredentials(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		x := newSite(t, s, "bob")
		w := dial(t, x.addr)
		w.refused("NO [AUTHENTICATIONFAILED]", "LOGIN bob@acme.test wrong")
		w.refused("BAD", "LIST \"\" *")
		w.refused("NO [CANNOT]", "AUTHENTICATE CRAM-MD5")
		token := base64.StdEncoding.EncodeToString([]byte("\x00bob@acme.test\x00" + password))
		w.ok("AUTHENTICATE PLAIN %s", token)
		w.refused("BAD", "LOGIN bob@acme.test x")
		w = dial(t, x.addr)
		w.send("a AUTHENTICATE PLAIN\r\n")
		require.Equal(t, "+ ", w.line())
		w.send("%s\r\n", token)
		require.Contains(t, w.line(), "a OK [CAPABILITY ")
		untagged := w.ok("LOGOUT")
		require.Contains(t, untagged[0], "* BYE")
	})
}
