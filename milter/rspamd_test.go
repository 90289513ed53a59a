package milter_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/milter"
	"github.com/mairust/mairust/milter/rspamd"
)

const gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

func TestRealRspamdBehindARealPostfix(t *testing.T) {
	t.Parallel()
	keyFile, record := dkimKey(t)
	r := labtest.OwnRspamd(t, lab.RspamdOptions{Override: map[string]string{
		"force_actions.conf": `rules { A { action = "rewrite subject"; expression = "SITE_SUBJECT"; subject = "[spam] %s"; } }`,
		"multimap.conf":      `SITE_SUBJECT { type = "header"; header = "X-Test"; regexp = true; map = ["/^subject$/"]; }`,
		"milter_headers.conf": `
use = ["authentication-results", "remove-headers"];
skip_authenticated = false;
skip_local = false;
routines { remove-headers { headers { "X-Test" = 0; } } }
`,
		"dkim_signing.conf": `
allow_username_mismatch = true;
use_esld = false;
domain { example.test { path = "` + keyFile + `"; selector = "s"; } }
`,
		"hfilter.conf": "enabled = false;\n",
	}})
	check, err := rspamd.New(rspamd.Options{URL: r.URL(), TimeoutMS: int(patience / time.Millisecond)}, nil)
	require.NoError(t, err)
	t.Cleanup(check.Close)
	s := newSite(t, serve(t, milter.Options{TimeoutMS: int(patience / time.Millisecond)}, milter.Source{Check: check, OnError: "tempfail"}),
		lab.PostfixOptions{Users: map[string]string{"alice@example.test": "pw"}})

	reply := s.send(t, "a@sender.test", "bob@example.test", plain+gtube+"\r\n")
	require.Equal(t, "550 5.7.1 Gtube pattern", reply.Final[0].String())

	s.accepted(t, "X-Test: subject\r\n"+plain)
	d := s.delivered(t, 1)
	scan := d.scan()
	require.Equal(t, mail.Tag, scan.Action)
	require.Equal(t, []string{"spam"}, scan.Tags)
	require.Contains(t, d.fields(), "Subject: [spam] hello")
	require.NotContains(t, string(d.Data), "X-Test")
	require.Contains(t, string(d.Data), "\r\nAuthentication-Results: mx.example.test;")

	// rspamd signs what an account of ours sends.
	own := strings.ReplaceAll(plain, "alice@sender.test", "alice@example.test")
	out, err := lab.SMTPSend(waiting(t), s.pf.SubmissionAddr, "alice@example.test", []string{"bob@example.test"}, []byte(own),
		lab.SendOptions{Username: "alice@example.test", Password: "pw"})
	require.NoError(t, err)
	require.True(t, out.Accepted(), "%v", out)
	d = s.delivered(t, 2)
	d.scan()
	list, err := dkim.VerifyWithOptions(strings.NewReader(string(d.Data)), &dkim.VerifyOptions{
		LookupTXT: func(string) ([]string, error) { return []string{record}, nil },
	})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NoError(t, list[0].Err)
	require.Equal(t, "example.test", list[0].Domain)

	// Without rspamd, what on_error says.
	r.Stop()
	reply = s.send(t, "a@sender.test", "bob@example.test", plain)
	require.Equal(t, "451 4.7.1 Try again later", reply.Final[0].String())
}

// dkimKey makes a key that rspamd may read, and its DNS record.
func dkimKey(t *testing.T) (file, record string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	file = filepath.Join(labtest.ShortDir(t), "dkim.key")
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	require.NoError(t, os.WriteFile(file, private, 0o644))
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	return file, "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(public)
}
