package api_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"github.com/mairust/mairust/api"
)

var (
	apiDefaults api.Options
	timeZero    time.Time
	errPanic    = errors.New("panic")
)

// How long to wait for what happens after an answer, and how often to look.
const (
	wait = 10 * time.Second
	tick = 10 * time.Millisecond
)

// serveOnce asks a handler without a network, with one query parameter, and gives the status.
func serveOnce(h http.Handler, token, path, name, value string) int {
	req := httptest.NewRequest(http.MethodGet, path+"?"+url.Values{name: {value}}.Encode(), http.NoBody)
	req.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Code
}
