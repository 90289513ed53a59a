package listen_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/emersion/go-milter"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/listen"
)

// writeCertificate writes a fresh self-signed pair for name into dir.
func writeCertificate(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	return cert, key
}

// trusting accepts the test's certificates; their names are what is looked at.
func trusting(protos ...string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: protos}
}

func servedName(t *testing.T, e *echo) string {
	t.Helper()
	c := tls.Client(e.dial(t), trusting())
	requireEcho(t, c)
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].DNSNames[0]
}

func TestRenewedCertificateIsServedWithoutARestart(t *testing.T) {
	dir := t.TempDir()
	cert, key := writeCertificate(t, dir, "old.test")
	age(t, cert, key, time.Hour)
	e := openEcho(t, listen.Options{Address: "inet:127.0.0.1:0", TLS: "implicit", Cert: cert, Key: key}, listen.Limits{})
	require.Nil(t, e.TLSConfig(), "there is nothing left for STARTTLS")
	require.Equal(t, "old.test", servedName(t, e))

	require.NoError(t, os.WriteFile(cert, []byte("half written"), 0o600))
	age(t, cert, key, 50*time.Minute)
	require.Equal(t, "old.test", servedName(t, e))
	require.Contains(t, e.log.String(), "TLS certificate not reloaded")

	require.NoError(t, os.Remove(cert))
	require.Equal(t, "old.test", servedName(t, e))

	writeCertificate(t, dir, "new.test")
	require.Equal(t, "new.test", servedName(t, e))
}

func age(t *testing.T, cert, key string, d time.Duration) {
	t.Helper()
	for _, path := range []string{cert, key} {
		require.NoError(t, os.Chtimes(path, time.Now().Add(-d), time.Now().Add(-d)))
	}
}

func TestOldTLSVersionsAreRefused(t *testing.T) {
	cert, key := writeCertificate(t, t.TempDir(), "one.test")
	e := openEcho(t, listen.Options{Address: "inet:127.0.0.1:0", TLS: "implicit", Cert: cert, Key: key}, listen.Limits{})
	config := trusting()
	config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	require.Error(t, tls.Client(e.dial(t), config).Handshake())
}

func TestHTTPServerKnowsItsTLS(t *testing.T) {
	cert, key := writeCertificate(t, t.TempDir(), "one.test")
	o := listen.Options{Address: "inet:127.0.0.1:0", TLS: "implicit", Cert: cert, Key: key}
	ln, err := listen.Open(t.Context(), o, listen.Limits{}, listen.Hooks{NextProtos: []string{"h2", "http/1.1"}})
	require.NoError(t, err)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto+" "+r.TLS.NegotiatedProtocol)
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	transport := &http.Transport{TLSClientConfig: trusting(), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("https://" + ln.Addr().String())
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, "HTTP/2.0 h2", string(body))
	require.NoError(t, server.Shutdown(t.Context()))
	require.ErrorIs(t, <-served, http.ErrServerClosed)
	require.NoError(t, ln.Drain(t.Context()))
}

type backend struct{}

func (backend) NewSession(*smtp.Conn) (smtp.Session, error) { return session{}, nil }

type session struct{}

func (session) Reset()                               {}
func (session) Logout() error                        { return nil }
func (session) Mail(string, *smtp.MailOptions) error { return nil }
func (session) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (session) Data(r io.Reader) error               { _, err := io.Copy(io.Discard, r); return err }

func TestSMTPServerDoesSTARTTLSAndDrains(t *testing.T) {
	cert, key := writeCertificate(t, t.TempDir(), "one.test")
	o := listen.Options{Address: "inet:127.0.0.1:0", TLS: "starttls", Cert: cert, Key: key}
	ln, err := listen.Open(t.Context(), o, listen.Limits{}, listen.Hooks{})
	require.NoError(t, err)
	server := smtp.NewServer(backend{})
	server.Domain, server.TLSConfig = "one.test", ln.TLSConfig()
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	c, err := smtp.DialStartTLS(ln.Addr().String(), trusting())
	require.NoError(t, err)
	require.NoError(t, c.Noop())
	state, ok := c.TLSConnectionState()
	require.True(t, ok)
	require.Equal(t, []string{"one.test"}, state.PeerCertificates[0].DNSNames)
	drained := make(chan error, 1)
	go func() { drained <- ln.Drain(t.Context()) }()
	require.ErrorIs(t, <-served, net.ErrClosed)
	require.NoError(t, c.Mail("a@one.test", nil), "the session goes on")
	require.NoError(t, c.Quit())
	require.NoError(t, <-drained)
}

func TestMilterServerRunsBehindIt(t *testing.T) {
	ln, err := listen.Open(t.Context(), listen.Options{Address: "unix:" + filepath.Join(t.TempDir(), "m")}, listen.Limits{}, listen.Hooks{})
	require.NoError(t, err)
	server := &milter.Server{NewMilter: func() milter.Milter { return milter.NoOpMilter{} }}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	c, err := net.Dial("unix", ln.Addr().String())
	require.NoError(t, err)
	_, err = io.WriteString(c, "\x00\x00\x00\x0dO\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00") // negotiate version 2
	require.NoError(t, err)
	answer := make([]byte, 5)
	_, err = io.ReadFull(c, answer)
	require.NoError(t, err)
	require.Equal(t, byte('O'), answer[4])
	require.NoError(t, c.Close())
	require.NoError(t, ln.Drain(t.Context()))
	require.ErrorIs(t, <-served, net.ErrClosed)
}
