package api_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/keyring"
	"github.com/mairust/mairust/store/storetest"
	"github.com/mairust/mairust/ui"
)

// patience bounds every wait for a server; nothing waits for it to pass.
const patience = 20 * time.Second

// rigWithin is a rig whose clients have so long for a body.
func rigWithin(t *testing.T, bodyTime time.Duration) *rig {
	t.Helper()
	return newRigOn(t, storetest.Options(t, "sqlite"), api.Options{}, func(d *api.Deps) { d.BodyTime = bodyTime })
}

// connect dials a server of h.
func (r *rig) connect(t *testing.T, h http.Handler) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", serve(t, r.server, h).Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
	return nc
}

// web is the API with the Web UI beside it, as the daemon has them.
func (r *rig) web(t *testing.T) http.Handler {
	t.Helper()
	who, err := auth.New(auth.Options{Store: r.store})
	require.NoError(t, err)
	ring, err := keyring.Create(filepath.Join(t.TempDir(), "keyring"))
	require.NoError(t, err)
	pages, err := ui.New(ui.Options{}, ui.Deps{Store: r.store, Objects: r.objects, Auth: who, Keyring: ring})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/api/", r.server.Handler())
	mux.Handle("/", pages.Handler())
	return mux
}

func TestBodiesThatDripAreCut(t *testing.T) {
	t.Parallel()
	const form = "Content-Type: application/x-www-form-urlencoded\r\n"
	const long, chunked = "Content-Length: 100000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n186a0\r\n"
	for name, c := range map[string]struct {
		request string
		want    int
	}{
		"a form":                      {"POST /login HTTP/1.1\r\n" + form + long, http.StatusRequestTimeout},
		"a form in chunks":            {"POST /login HTTP/1.1\r\n" + form + chunked, http.StatusRequestTimeout},
		"a form that nobody reads":    {"POST /logout HTTP/1.1\r\n" + form + long, http.StatusSeeOther},
		"a page":                      {"GET /login HTTP/1.1\r\n" + long, http.StatusRequestTimeout},
		"what is moved":               {"POST //login HTTP/1.1\r\n" + form + long, http.StatusTemporaryRedirect},
		"JSON":                        {"POST /api/v1/auth/login HTTP/1.1\r\nContent-Type: application/json\r\n" + long, http.StatusRequestTimeout},
		"a list":                      {"GET /api/v1/mailboxes HTTP/1.1\r\n" + long, http.StatusRequestTimeout},
		"a list, in chunks":           {"GET /api/v1/mailboxes HTTP/1.1\r\n" + chunked, http.StatusRequestTimeout},
		"the header of a list":        {"HEAD /api/v1/mailboxes HTTP/1.1\r\n" + long, http.StatusRequestTimeout},
		"what may not be done":        {"DELETE /api/v1/mailboxes HTTP/1.1\r\n" + long, http.StatusMethodNotAllowed},
		"a list, more than is wanted": {"GET /api/v1/mailboxes HTTP/1.1\r\nContent-Length: 100000000\r\n\r\n", http.StatusRequestTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rigWithin(t, 300*time.Millisecond)
			nc := r.connect(t, r.web(t))
			line, rest, _ := strings.Cut(c.request, "\r\n")
			_, err := io.WriteString(nc, line+"\r\nHost: "+nc.RemoteAddr().String()+"\r\n"+rest)
			require.NoError(t, err)
			drip(nc)
			method, _, _ := strings.Cut(line, " ")
			in := bufio.NewReader(nc)
			a, err := http.ReadResponse(in, &http.Request{Method: method})
			require.NoError(t, err)
			require.Equal(t, c.want, a.StatusCode)
			_, _ = io.Copy(io.Discard, a.Body) // the connection may end in any way
			_, err = in.ReadByte()
			require.Error(t, err)
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the connection was not closed")
		})
	}
}

// drip sends a byte now and then, until the connection ends.
func drip(nc net.Conn) {
	go func() {
		for {
			if _, err := nc.Write([]byte("x")); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
}

// slowly answers for longer than bodies may take, with what has become of the request meanwhile. It begins late when the path
// is /late, and reads the body when it is /read; /quick is answered at once.
func slowly(long time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/quick":
			return
		case "/late":
			time.Sleep(long)
		case "/read":
			_, _ = io.Copy(io.Discard, r.Body) // the answer tells
		}
		_, _ = fmt.Fprintln(w, "begun")
		_ = http.NewResponseController(w).Flush()
		time.Sleep(long)
		_, _ = fmt.Fprintln(w, "ended:", r.Context().Err())
	})
}

func TestTimeOfABodyDoesNotCutTheAnswer(t *testing.T) {
	t.Parallel()
	const bodyTime, long = time.Second, 1100 * time.Millisecond
	const known, chunked = "Content-Length: 4\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"
	const chunks = "4\r\nbody\r\n0\r\n\r\n"
	for name, c := range map[string]struct{ line, header, body string }{
		"no body":                            {"GET /late", "\r\n", ""},
		"a body that is read":                {"POST /read", known, "body"},
		"a body in chunks":                   {"POST /read", chunked, chunks},
		"a body that is not read":            {"POST /", known, "body"},
		"a body with GET, and a late answer": {"GET /late", known, "body"},
		"chunks with GET, and a late answer": {"GET /late", chunked, chunks},
		"a body after 100 Continue":          {"GET /late", "Expect: 100-continue\r\n" + known, "body"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rigWithin(t, bodyTime)
			nc := r.connect(t, slowly(long))
			in := bufio.NewReader(nc)
			send := func(text string) {
				_, err := io.WriteString(nc, text)
				require.NoError(t, err)
			}
			send(c.line + " HTTP/1.1\r\nHost: x\r\n" + c.header)
			time.Sleep(20 * time.Millisecond) // the body comes by itself
			send(c.body)
			require.Equal(t, "begun\nended: <nil>\n", readAnswer(t, in))
			time.Sleep(long)
			send("GET /quick HTTP/1.1\r\nHost: x\r\n\r\n") // on the same connection
			require.Empty(t, readAnswer(t, in))
		})
	}
}

// readAnswer reads one that is 200.
func readAnswer(t *testing.T, in *bufio.Reader) string {
	t.Helper()
	a, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	if a.StatusCode == http.StatusContinue {
		a, err = http.ReadResponse(in, nil)
		require.NoError(t, err)
	}
	require.Equal(t, http.StatusOK, a.StatusCode)
	text, err := io.ReadAll(a.Body)
	require.NoError(t, err)
	return string(text)
}

func TestBigBodiesHaveMoreTime(t *testing.T) {
	t.Parallel()
	const bodyTime, big = 300 * time.Millisecond, 1 << 20
	r := rigWithin(t, bodyTime)
	nc := r.connect(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n, err)
	}))
	_, err := fmt.Fprintf(nc, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", big+1, strings.Repeat("x", big))
	require.NoError(t, err)
	time.Sleep(2 * bodyTime)
	_, err = io.WriteString(nc, "x")
	require.NoError(t, err)
	require.Equal(t, fmt.Sprint(big+1, nil), readAnswer(t, bufio.NewReader(nc)))
}
