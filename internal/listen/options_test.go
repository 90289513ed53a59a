package listen_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/listen"
)

func TestOptionsAreValidatedWithoutOpening(t *testing.T) {
	cert, key := writeCertificate(t, t.TempDir(), "one.test")
	for _, c := range []struct {
		o    listen.Options
		want string // in the error; empty: valid
	}{
		{listen.Options{Address: "unix:/run/mairust/milter.sock"}, ""},
		{listen.Options{Address: "unix:relative.sock", SocketMode: "0600", SocketGroup: "0"}, ""},
		{listen.Options{Address: "unix:/" + strings.Repeat("x", 106)}, ""},
		{listen.Options{Address: "unix:/" + strings.Repeat("x", 107)}, "108 bytes long; unix sockets end at 107"},
		{listen.Options{Address: "unix:"}, "path is missing"},
		{listen.Options{Address: "unix:@abstract"}, "socket file"},
		{listen.Options{Address: "unix:a\x00b"}, "socket file"},
		{listen.Options{Address: "unix:/s", SocketMode: "rw"}, "octal"},
		{listen.Options{Address: "unix:/s", SocketMode: "4755"}, "octal"},
		{listen.Options{Address: "unix:/s", SocketMode: "0688"}, "octal"},
		{listen.Options{Address: "unix:/s", SocketGroup: "no-such-group"}, "socket_group"},
		{listen.Options{Address: "unix:/s", Allow: []string{"127.0.0.1"}}, "allow: this is for inet"},
		{listen.Options{Address: ""}, "write unix:PATH or inet:HOST:PORT"},
		{listen.Options{Address: "127.0.0.1:25"}, "write unix:PATH or inet:HOST:PORT"},
		{listen.Options{Address: "/run/x.sock"}, "write unix:PATH or inet:HOST:PORT"},
		{listen.Options{Address: "inet:127.0.0.1:8898"}, ""},
		{listen.Options{Address: "inet:localhost:0"}, ""},
		{listen.Options{Address: "inet:[::1]:8898"}, ""},
		{listen.Options{Address: "inet6:[::1]:8898"}, ""},
		{listen.Options{Address: "inet6:127.0.0.1:8898"}, "inet6 needs an IPv6 address"},
		{listen.Options{Address: "inet:::1:8898"}, "in brackets"},
		{listen.Options{Address: "inet:8898@localhost"}, "write inet:HOST:PORT"},
		{listen.Options{Address: "inet::8898"}, "host is missing"},
		{listen.Options{Address: "inet:*:8898"}, "host is missing"},
		{listen.Options{Address: "inet:127.0.0.1:smtp"}, "port \"smtp\""},
		{listen.Options{Address: "inet:127.0.0.1:65536"}, "port"},
		{listen.Options{Address: "inet:127.0.0.1:-1"}, "port"},
		{listen.Options{Address: "inet:mail server:25"}, "neither an address nor a host name"},
		{listen.Options{Address: "inet:メール:25"}, "neither an address nor a host name"},
		{listen.Options{Address: "inet:127.0.0.1:25", SocketMode: "0660"}, "for unix sockets"},
		{listen.Options{Address: "inet:0.0.0.0:25"}, "list who may connect in `allow`"},
		{listen.Options{Address: "inet:[::]:25"}, "list who may connect in `allow`"},
		{listen.Options{Address: "inet:192.0.2.1:25"}, "list who may connect in `allow`"},
		{listen.Options{Address: "inet:mx.example.test:25"}, "list who may connect in `allow`"},
		{listen.Options{Address: "inet:0.0.0.0:25", Allow: []string{"192.0.2.0/24", "2001:db8::/32", "198.51.100.7", "::ffff:192.0.2.1"}}, ""},
		{listen.Options{Address: "inet:0.0.0.0:25", Allow: []string{"192.0.2.7/24"}}, "write 192.0.2.0/24, or 192.0.2.7 for one host"},
		{listen.Options{Address: "inet:0.0.0.0:25", Allow: []string{"::ffff:192.0.2.0/120"}}, "write the IPv4 form"},
		{listen.Options{Address: "inet:0.0.0.0:25", Allow: []string{"example.test"}}, "is not a CIDR"},
		{listen.Options{Address: "inet:0.0.0.0:25", Allow: []string{""}}, "is not a CIDR"},
		{listen.Options{Address: "inet:0.0.0.0:25", Allow: []string{"fe80::1%eth0"}}, "is not a CIDR"},
		{listen.Options{Address: "inet:0.0.0.0:25", TLS: "implicit", Cert: cert, Key: key}, ""},
		{listen.Options{Address: "inet:0.0.0.0:25", TLS: "starttls", Cert: cert, Key: key}, ""},
		{listen.Options{Address: "inet:0.0.0.0:25", TLS: "none"}, "list who may connect in `allow`"},
		{listen.Options{Address: "inet:127.0.0.1:25", TLS: "ssl"}, "use none, starttls or implicit"},
		{listen.Options{Address: "inet:127.0.0.1:25", TLS: "implicit", Cert: cert}, "needs cert and key"},
		{listen.Options{Address: "inet:127.0.0.1:25", Cert: cert, Key: key}, "tls is not"},
		{listen.Options{Address: "inet:127.0.0.1:25", TLS: "implicit", Cert: key, Key: cert}, "tls: cert"},
		{listen.Options{Address: "inet:127.0.0.1:25", TLS: "implicit", Cert: filepath.Join(t.TempDir(), "none"), Key: key}, "no such file"},
	} {
		err := c.o.Validate()
		if c.want == "" {
			require.NoError(t, err, "%+v", c.o)
			continue
		}
		require.ErrorContains(t, err, c.want, "%+v", c.o)
		_, err = listen.Open(t.Context(), c.o, listen.Limits{}, listen.Hooks{})
		require.ErrorContains(t, err, c.want, "Open refuses the same")
	}
}

func FuzzValidate(f *testing.F) {
	for _, seed := range []string{"unix:/run/x", "inet:127.0.0.1:0", "inet6:[::1]:25", "inet:[fe80::1%lo]:25", "inet:::", ""} {
		f.Add(seed, "192.0.2.0/24")
	}
	f.Fuzz(func(t *testing.T, address, allow string) {
		o := listen.Options{Address: address, Allow: []string{allow}}
		if o.Validate() == nil {
			require.True(t, strings.HasPrefix(address, "inet"))
		}
	})
}
