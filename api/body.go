package api

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// bodyReadTime is how long a client may take to send the body of a request, and bodyBytesPerSecond what prolongs it.
const (
	bodyReadTime       = 20 * time.Second
	bodyBytesPerSecond = 64 << 10
)

// maxUnwanted is how much of a body that nobody asked for is read, as net/http does before it answers.
const maxUnwanted = 256 << 10

// inTime gives clients a while to send the bodies of requests to h, and a second more for each 64 KiB that came. What h leaves of a
// body is read by net/http before it answers, in the same time.
//
// net/http takes the deadline away when it sees the end of the body, before it looks in the background whether the client has left;
// so it strikes no answer, however long. A body that comes with GET is read beforehand: h may begin its answer later than the body must be there.
func (s *Server) inTime(h http.Handler) http.Handler {
	late := s.wrap(http.HandlerFunc(s.tooLate))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 { // -1 when it is not known
			h.ServeHTTP(w, r)
			return
		}
		b := &body{ReadCloser: r.Body, control: http.NewResponseController(w), by: time.Now().Add(s.d.BodyTime)}
		b.extend()
		r = r.WithContext(r.Context()) // net/http keeps the body that it knows
		r.Body = b
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			if _, err := io.CopyN(io.Discard, b, maxUnwanted); err != nil && !errors.Is(err, io.EOF) {
				late.ServeHTTP(w, r)
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

// tooLate answers a request whose body did not come; net/http closes the connection then.
func (s *Server) tooLate(w http.ResponseWriter, r *http.Request) {
	s.writeProblem(w, r, s.localize(r.Context(), newProblem(codeTimeout), nil))
}

// body is that of a request, on its way.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	// by is when it must be there, but for a second for each bodyBytesPerSecond of came.
	by    time.Time
	came  int64
	ended bool
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if !b.ended {
		b.extend()
	}
	n, err := b.ReadCloser.Read(p)
	b.came += int64(n)
	b.ended = b.ended || err != nil
	return n, err
}

// extend must not be called after the end: it would be the deadline of whatever comes next.
func (b *body) extend() {
	// Not every writer has deadlines; those of tests have none.
	_ = b.control.SetReadDeadline(b.by.Add(time.Duration(b.came/bodyBytesPerSecond) * time.Second))
}
