package attachment_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"math/rand/v2"
	"mime/quotedprintable"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/attachment"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/storetest"
)

// rig is a mailbox whose messages have attachments.
type rig struct {
	t       testing.TB
	store   *store.Store
	site    *storetest.Site
	objects *blob.Memory
	opener  *attachment.Opener
}

func newRig(t testing.TB, s *store.Store, mode string) *rig {
	t.Helper()
	r := &rig{t: t, store: s, site: storetest.NewSite(t, s, "one", "one.test", "bob"), objects: blob.NewMemory()}
	r.opener = attachment.New(attachment.Options{Index: s, Objects: r.objects, Mode: mode})
	return r
}

// deliver stores a message, and gives it as the index has it.
func (r *rig) deliver(raw string) *store.Message {
	r.t.Helper()
	c := storetest.NewCopy(r.t, r.site.Target("bob"), "")
	summary, err := mail.Summarize(strings.NewReader(raw), mail.Limits{})
	require.NoError(r.t, err)
	d := blob.NewDigester()
	_, _ = d.Write([]byte(raw))
	c.Content.Summary, c.Content.SizeBytes, c.Content.Digest, c.Content.Pieces = summary, int64(len(raw)), d.Sum(), d.Pieces()
	require.NoError(r.t, r.objects.Put(r.t.Context(), c.Key, strings.NewReader(raw), int64(len(raw))))
	storetest.Deliver(r.t, r.store, c)
	m, err := r.store.Message(r.t.Context(), store.System, c.ID)
	require.NoError(r.t, err)
	return m
}

func (r *rig) read(m *store.Message, p mail.Part, offset, n int64) []byte {
	r.t.Helper()
	content, err := r.opener.Open(r.t.Context(), m, p, offset, n)
	require.NoError(r.t, err)
	got, err := io.ReadAll(content)
	require.NoError(r.t, err)
	require.NoError(r.t, content.Close())
	return got
}

func (r *rig) copyKey(m *store.Message, p mail.Part) string {
	return store.AttachmentKey(m.Tenant, m.Mailbox, m.ID, p.ID)
}

func (r *rig) hasCopy(m *store.Message, p mail.Part) bool {
	_, err := r.objects.Stat(r.t.Context(), r.copyKey(m, p))
	return err == nil
}

func (r *rig) requireCopy(m *store.Message, p mail.Part, content []byte) {
	r.t.Helper()
	got, _, err := r.objects.Get(r.t.Context(), r.copyKey(m, p), 0, -1)
	require.NoError(r.t, err)
	raw, err := io.ReadAll(got)
	require.NoError(r.t, err)
	require.True(r.t, bytes.Equal(content, raw))
}

var content = bytes.Repeat([]byte("caf\u00e9 = 100 %\r\n\x00\xff"), 5000)

// letter has the same content encoded in each way.
func letter() string { return letterOf(content) }

func letterOf(content []byte) string {
	var qp bytes.Buffer
	w := quotedprintable.NewWriter(&qp)
	w.Binary = true
	_, _ = w.Write(content)
	_ = w.Close()
	encoded := base64.StdEncoding.EncodeToString(content)
	var lines strings.Builder
	for len(encoded) > 76 {
		lines.WriteString(encoded[:76] + "\r\n")
		encoded = encoded[76:]
	}
	part := func(encoding, body string) string {
		return "--b\r\nContent-Type: application/x-test\r\nContent-Disposition: attachment; filename=x\r\nContent-Transfer-Encoding: " +
			encoding + "\r\n\r\n" + body + "\r\n"
	}
	return "Return-Path: <>\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		part("base64", lines.String()+encoded) + part("quoted-printable", qp.String()) + part("8bit", string(content)) + "--b--\r\n"
}

func TestAnAttachmentIsTheSameFromTheMessageAndFromItsCopy(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		r := newRig(t, s, attachment.Lazy)
		m := r.deliver(letter())
		parts := attachment.Attachments(m)
		require.Len(t, parts, 3)
		for range 2 { // the second time from copies
			for _, p := range parts {
				require.EqualValues(t, len(content), p.DecodedSize, p.Encoding)
				for _, part := range [][2]int64{{0, -1}, {0, 0}, {1, 10}, {70_000, -1}, {int64(len(content)) - 1, 5}, {int64(len(content)), 5}, {1 << 40, -1}} {
					got := r.read(m, p, part[0], part[1])
					start := min(part[0], int64(len(content)))
					end := int64(len(content))
					if part[1] >= 0 {
						end = min(end, start+part[1])
					}
					require.True(t, bytes.Equal(content[start:end], got), "%s %v", p.Encoding, part)
				}
				require.NoError(t, r.opener.Copy(t.Context(), m, p))
			}
		}
		require.True(t, r.hasCopy(m, parts[0]))
		require.NoError(t, r.objects.Delete(t.Context(), m.Key))
		require.Equal(t, content, r.read(m, parts[0], 0, -1), "the copy alone is read")
	})
}

func TestACopyIsMadeWhenItIsAskedForAndNotBefore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		for _, mode := range []string{attachment.Lazy, attachment.Eager, attachment.Never} {
			r := newRig(t, s, mode)
			m := r.deliver(letter())
			p := attachment.Attachments(m)[0]
			r.opener.WantAll(m)
			attachment.MakeWanted(t, r.opener)
			require.Equal(t, mode == attachment.Eager, r.hasCopy(m, p), mode)
			r.read(m, p, 0, 1)
			attachment.MakeWanted(t, r.opener)
			require.Equal(t, mode != attachment.Never, r.hasCopy(m, p), mode)
		}
	})
}

func TestABadCopyIsPassedOverAndMadeAgain(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		r := newRig(t, s, attachment.Lazy)
		m := r.deliver(letter())
		p := attachment.Attachments(m)[0]
		require.NoError(t, r.opener.Copy(t.Context(), m, p))
		key := r.copyKey(m, p)
		for what, spoil := range map[string]func() error{
			"altered": func() error { return r.objects.Replace(t.Context(), key, strings.NewReader("evil"), 4) },
			"of the same size": func() error {
				return r.objects.Replace(t.Context(), key, bytes.NewReader(bytes.Repeat([]byte("x"), len(content))), int64(len(content)))
			},
			"gone": func() error { return r.objects.Delete(t.Context(), key) },
		} {
			require.NoError(t, spoil(), what)
			require.Equal(t, content, r.read(m, p, 0, -1), what)
			_, err := s.AttachmentCopy(t.Context(), m.Tenant, m.ID, p.ID)
			require.ErrorIs(t, err, store.ErrNotFound, what)
			require.NoError(t, r.opener.Copy(t.Context(), m, p))
			require.Equal(t, content, r.read(m, p, 0, -1), what)
			_, err = s.AttachmentCopy(t.Context(), m.Tenant, m.ID, p.ID)
			require.NoError(t, err, "%s: it is whole, and stays", what)
			r.requireCopy(m, p, content)
		}
		_, err := s.AttachmentCopy(t.Context(), "another tenant", m.ID, p.ID)
		require.ErrorIs(t, err, store.ErrNotFound)
	})
}

// The pieces of a long copy are compared when they are read: damage may show when some of it was given out.
func TestALongCopyThatIsBadWithinIsPassedOverAndMadeAgain(t *testing.T) {
	const piece = blob.PieceBytes
	whole := make([]byte, 3*piece)
	_, _ = rand.NewChaCha8([32]byte{}).Read(whole)
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		r := newRig(t, s, attachment.Lazy)
		m := r.deliver(letterOf(whole))
		for _, p := range attachment.Attachments(m)[:2] {
			require.NoError(t, r.opener.Copy(t.Context(), m, p))
			for flip, ranges := range map[int][][2]int64{
				0:         {{0, -1}, {0, 10}, {5, 2 * piece}},
				2 * piece: {{0, -1}, {piece + 7, -1}, {piece + 7, piece}, {2*piece + 9, 100}},
			} {
				for _, part := range ranges {
					bad := bytes.Clone(whole)
					bad[flip] ^= 1
					require.NoError(t, r.objects.Replace(t.Context(), r.copyKey(m, p), bytes.NewReader(bad), int64(len(bad))))
					r.opener = attachment.New(attachment.Options{Index: s, Objects: r.objects, Mode: attachment.Lazy})
					want := whole[part[0]:]
					if part[1] >= 0 {
						want = want[:part[1]]
					}
					require.True(t, bytes.Equal(want, r.read(m, p, part[0], part[1])), "%s, flip at %d, %v", p.Encoding, flip, part)
					_, err := s.AttachmentCopy(t.Context(), m.Tenant, m.ID, p.ID)
					require.ErrorIs(t, err, store.ErrNotFound)

					attachment.MakeWanted(t, r.opener)
					_, err = s.AttachmentCopy(t.Context(), m.Tenant, m.ID, p.ID)
					require.NoError(t, err)
					r.requireCopy(m, p, whole)
				}
			}
		}
	})
}

// Nothing is left to go on with when the message is bad too.
func TestALongCopyAndItsMessageThatAreBadAreNoAttachment(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		whole := bytes.Repeat(content, 40)
		r := newRig(t, s, attachment.Never)
		m := r.deliver(letterOf(whole))
		p := attachment.Attachments(m)[0]
		require.NoError(t, r.opener.Copy(t.Context(), m, p))
		require.NoError(t, r.objects.Replace(t.Context(), r.copyKey(m, p), bytes.NewReader(make([]byte, len(whole))), int64(len(whole))))
		require.NoError(t, r.objects.Delete(t.Context(), m.Key))
		opened, err := r.opener.Open(t.Context(), m, p, 0, -1)
		require.NoError(t, err)
		got, err := io.ReadAll(opened)
		require.ErrorIs(t, err, blob.ErrNotFound)
		require.Empty(t, got)
		_, err = opened.Read(make([]byte, 1))
		require.ErrorIs(t, err, blob.ErrDamaged)
		require.NoError(t, opened.Close())
	})
}

func TestACopyThatIsThereWithoutARowIsUsedIfItIsTheSame(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		r := newRig(t, s, attachment.Lazy)
		m := r.deliver(letter())
		p := attachment.Attachments(m)[0]
		require.NoError(t, r.objects.Put(t.Context(), r.copyKey(m, p), bytes.NewReader(content), int64(len(content))))
		before, err := r.objects.Stat(t.Context(), r.copyKey(m, p))
		require.NoError(t, err)
		require.NoError(t, r.opener.Copy(t.Context(), m, p))
		after, err := r.objects.Stat(t.Context(), r.copyKey(m, p))
		require.NoError(t, err)
		require.Equal(t, before, after)
		require.Equal(t, content, r.read(m, p, 0, -1))
	})
}

func TestNoCopyIsLeftOfAMessageThatIsGone(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		r := newRig(t, s, attachment.Lazy)
		m := r.deliver(letter())
		p := attachment.Attachments(m)[0]
		gone := *m
		gone.ID = store.NewMessageID()
		require.ErrorIs(t, r.opener.Copy(t.Context(), &gone, p), store.ErrNotFound)
		require.False(t, r.hasCopy(&gone, p))
	})
}

func TestAMessageThatWasAlteredGivesNoAttachment(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		r := newRig(t, s, attachment.Lazy)
		raw := letter()
		m := r.deliver(raw)
		for what, bad := range map[string]string{"altered": strings.Replace(raw, "Y2Fm", "Y2Fn", 1), "cut": raw[:len(raw)-10]} {
			require.NoError(t, r.objects.Replace(t.Context(), m.Key, strings.NewReader(bad), int64(len(bad))))
			for _, p := range attachment.Attachments(m) {
				_, err := attachment.New(attachment.Options{Objects: r.objects}).Open(t.Context(), m, p, 0, -1)
				require.ErrorIs(t, err, blob.ErrDamaged, what)
			}
		}
	})
}

// Names as mailers write them, in the standard's ways (RFC 2231) and in those that are older than it.
func TestJapaneseNames(t *testing.T) {
	for header, want := range map[string]string{
		"Content-Disposition: attachment; filename*=utf-8''%E8%AB%8B%E6%B1%82%E6%9B%B8.pdf":                                          "請求書.pdf",
		"Content-Disposition: attachment; filename*=iso-2022-jp'ja'%1B%24B%40A5a%3Dq%1B%28B.pdf":                                     "請求書.pdf",
		"Content-Disposition: attachment;\r\n filename*0*=utf-8''%E8%AB%8B;\r\n filename*1*=%E6%B1%82%E6%9B%B8;\r\n filename*2=.pdf": "請求書.pdf",
		"Content-Disposition: attachment; filename=\"=?iso-2022-jp?B?GyRCQEE1YT1xGyhC?=.pdf\"":                                       "請求書.pdf",
		"Content-Disposition: attachment; filename=\"=?utf-8?Q?=E8=AB=8B=E6=B1=82?=\r\n =?utf-8?Q?=E6=9B=B8?=.pdf\"":                 "請求書.pdf",
		"Content-Disposition: attachment; filename=\"\x90\xbf\x8b\x81\x8f\x91.pdf\"":                                                 "請求書.pdf",
		"Content-Type: application/pdf; name=\"=?utf-8?B?6KuL5rGC5pu4?=.pdf\"":                                                       "請求書.pdf",
		"Content-Disposition: attachment; filename=\"..\\\\..\\\\windows\\\\evil.exe\"":                                              "evil.exe",
		"Content-Disposition: attachment; filename*=utf-8''..%2F..%2Fetc%2Fpasswd":                                                   "passwd",
		"Content-Disposition: attachment; filename*=utf-8''invoice%E2%80%AEfdp.exe":                                                  "invoicefdp.exe",
	} {
		raw := header + "\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n"
		summary, err := mail.Summarize(strings.NewReader(raw), mail.Limits{})
		require.NoError(t, err)
		require.Equal(t, want, attachment.FileName(summary.Attachments()[0]), "%q", header)
	}
}

func TestTypesThatABrowserRunsAreBytes(t *testing.T) {
	for given, want := range map[string]string{
		"text/html": "application/octet-stream", "image/svg+xml": "application/octet-stream", "application/xhtml+xml": "application/octet-stream",
		"text/xml": "application/octet-stream", "application/javascript": "application/octet-stream", "message/rfc822": "application/octet-stream",
		"image/png": "image/png", "application/pdf": "application/pdf", "text/plain": "text/plain",
	} {
		require.Equal(t, want, attachment.MediaType(mail.Part{Type: given}))
	}
	require.Equal(t, "text/plain; charset=shift_jis", attachment.MediaType(mail.Part{Type: "text/plain", Charset: "shift_jis"}))
	require.Equal(t, "text/plain", attachment.MediaType(mail.Part{Type: "text/plain", Charset: "utf-7"}))
	require.Equal(t, "text/plain", attachment.MediaType(mail.Part{Type: "text/plain", Charset: "x; y=\"z"}))
}
