package auth

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// DefaultPublicURL is where browsers find a server that was told no other address.
const DefaultPublicURL = "http://127.0.0.1:8080"

// ParsePublicURL reads the address under which browsers see the server; empty means DefaultPublicURL. It refuses
// what would send sessions over the network in clear text.
func ParsePublicURL(text string) (*url.URL, error) {
	if text == "" {
		text = DefaultPublicURL
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("http.public_url: %w", err)
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		return nil, fmt.Errorf("http.public_url: %q must be https://HOST[:PORT], or http:// on loopback", text)
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("http.public_url: %q: plain http is for loopback only", text)
	}
	return u, nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// SessionCookie is how browsers keep the session's token: one cookie for the REST API and the Web UI.
type SessionCookie struct {
	name   string
	secure bool
}

// NewSessionCookie takes the __Host- prefix over https: no other host, and no plain connection, can set
// such a cookie (RFC 6265bis, 4.1.3.2).
func NewSessionCookie(public *url.URL) SessionCookie {
	if public.Scheme == "https" {
		return SessionCookie{name: "__Host-mairust", secure: true}
	}
	return SessionCookie{name: "mairust"}
}

// Name is the cookie's name.
func (c SessionCookie) Name() string { return c.name }

// With is a cookie that holds token until expires.
func (c SessionCookie) With(token string, expires time.Time) http.Cookie {
	return http.Cookie{ //nolint:gosec // not Secure only over plain http, which ParsePublicURL allows on loopback alone
		Name: c.name, Value: token, Path: "/", Expires: expires, Secure: c.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

// Gone is the cookie that makes a browser forget.
func (c SessionCookie) Gone() http.Cookie {
	cookie := c.With("", time.Unix(1, 0)) //nolint:gosec // as above
	cookie.MaxAge = -1
	return cookie
}

// Token finds the token among cookies; empty when there is none.
func (c SessionCookie) Token(cookies []*http.Cookie) string {
	for _, cookie := range cookies {
		if cookie.Name == c.name {
			return cookie.Value
		}
	}
	return ""
}
