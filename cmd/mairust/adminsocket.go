package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/mairust/mairust/api"
	"github.com/mairust/mairust/api/client"
	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/listen"
)

// peerAllowed is the context key of whether the peer of the admin socket may use it.
type peerAllowed struct{}

// peerUID is the context key of the uid of the peer of the admin socket.
type peerUID struct{}

// peerActor is who acts through the admin socket, for the audit log.
func peerActor(ctx context.Context) auth.Principal {
	uid, _ := ctx.Value(peerUID{}).(string)
	return auth.Socket(uid)
}

// withPeer notes who is at the other end of an admin socket connection, as the kernel knows it.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	uid, known := listen.PeerUID(c)
	allowed := known && (uid == 0 || uid == os.Geteuid())
	ctx = context.WithValue(api.WithPeer(ctx, strconv.Itoa(uid)), peerUID{}, strconv.Itoa(uid))
	return context.WithValue(ctx, peerAllowed{}, allowed)
}

// requirePeer refuses everyone but root and the service's own user. The mode of the socket does so too.
func requirePeer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if allowed, ok := r.Context().Value(peerAllowed{}).(bool); !ok || !allowed {
			http.Error(w, "only root and the user of the service may use this socket", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// socketClient speaks to a running daemon through its admin socket.
type socketClient struct {
	path string
	http *http.Client
}

func newSocketClient(path string) *socketClient {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", path)
	}
	return &socketClient{path: path, http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Setup makes what is missing of an installation. What was made before an error is in the result too.
func (c *socketClient) Setup(ctx context.Context, _ auth.Principal, want wire.Setup) (wire.SetupResult, error) {
	var result wire.SetupResult
	status, answer, err := c.do(ctx, http.MethodPost, "/admin/v1/setup", want)
	if err != nil {
		return result, c.unreachable(err)
	}
	if err = json.Unmarshal(answer, &result); status >= 300 {
		err = problemError(status, answer)
	}
	return result, err
}

// CreateAPIKey makes an API key.
func (c *socketClient) CreateAPIKey(ctx context.Context, _ auth.Principal, want wire.NewAPIKey) (wire.APIKeyCreated, error) {
	var result wire.APIKeyCreated
	return result, c.call(ctx, http.MethodPost, "/admin/v1/api-keys", want, &result)
}

// CreateLoginLink makes the token of a login link.
func (c *socketClient) CreateLoginLink(ctx context.Context, _ auth.Principal, want wire.NewLoginLink) (wire.LoginLinkCreated, error) {
	var result wire.LoginLinkCreated
	return result, c.call(ctx, http.MethodPost, "/admin/v1/login-links", want, &result)
}

// maxAnswer bounds what is read of an answer of the daemon.
const maxAnswer = 16 << 20

// call does one request and decodes the answer into result, or the problem into an error.
func (c *socketClient) call(ctx context.Context, method, path string, body, result any) error {
	status, answer, err := c.do(ctx, method, path, body)
	if err != nil {
		return c.unreachable(err)
	}
	if status >= 300 {
		return problemError(status, answer)
	}
	return json.Unmarshal(answer, result)
}

func (c *socketClient) unreachable(err error) error {
	return fmt.Errorf("admin socket %s: %w (is the daemon running, and are you root or its user?)", c.path, err)
}

// do does one request with a JSON body, none when it is nil, and returns status and answer.
func (c *socketClient) do(ctx context.Context, method, path string, body any) (int, []byte, error) {
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		content = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://admin"+path, content)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, answer, err
}

// streamed has the daemon do an act, and gives each event that comes to tell, until that says that it was the last one or an error.
func streamed[E any](ctx context.Context, c *socketClient, path string, q any, tell func(E) (last bool, err error)) error {
	body, err := json.Marshal(q)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://admin"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		return errors.Join(problemError(resp.StatusCode, answer), err)
	}
	for in := json.NewDecoder(resp.Body); ; {
		var e E
		if err := in.Decode(&e); err != nil {
			return fmt.Errorf("admin socket %s: the daemon went away: %w", c.path, err)
		}
		if last, err := tell(e); last || err != nil {
			return err
		}
	}
}

// problemError makes the error for people out of a problem (RFC 9457).
func problemError(status int, answer []byte) error {
	var p client.Problem
	if json.Unmarshal(answer, &p.Problem) != nil || p.Title == "" {
		return fmt.Errorf("the daemon answered %d: %s", status, bytes.TrimSpace(answer))
	}
	return &p
}
