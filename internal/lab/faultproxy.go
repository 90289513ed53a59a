package lab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// FaultProxy stands before an HTTP server and does to its clients what networks, disks and servers do on bad days.
type FaultProxy struct {
	// Addr is host:port on loopback, where clients connect.
	Addr string

	to        string
	server    *http.Server
	transport *http.Transport
	served    chan struct{}

	mu    sync.Mutex
	fault Fault
	hits  int
	// changed is closed when the fault is.
	changed chan struct{}
}

// Fault is one bad day. The zero value passes everything on.
type Fault struct {
	// Only chooses the requests that it befalls; nil is all.
	Only func(r *http.Request) bool
	// Times is how many requests it befalls; 0 is all.
	Times int
	// Down resets every connection.
	Down bool
	// Delay is waited before a request is passed on.
	Delay time.Duration
	// BytesPerSecond is the rate of bodies, both ways; 0 is as fast as it goes.
	BytesPerSecond int
	// Lose has the server do what it is asked for, and resets the connection instead of giving its answer.
	Lose bool
	// Hold has it done, and gives no answer as long as the client waits for one.
	Hold bool
	// Break resets the connection after half of an answer's body, Truncate ends it there in good order.
	Break, Truncate bool
	// Alter changes one bit in the middle of an answer's body.
	Alter bool
	// Before sees a request first, may change it, and says whether it has answered it already.
	Before func(w http.ResponseWriter, r *http.Request) (answered bool)
	// After may change the head of an answer.
	After func(resp *http.Response)
}

// StartFaultProxy starts a proxy before the server at host:port.
func StartFaultProxy(to string) (*FaultProxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("fault proxy: %w", err)
	}
	p := &FaultProxy{
		Addr: l.Addr().String(), to: to, served: make(chan struct{}), changed: make(chan struct{}),
		transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 256},
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	go func() {
		_ = p.server.Serve(l) // ends with Close
		close(p.served)
	}()
	return p, nil
}

// URL is where clients connect.
func (p *FaultProxy) URL() string { return "http://" + p.Addr }

// Set changes what happens from the next request on. Bodies that are slow break off.
func (p *FaultProxy) Set(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.changed)
	p.fault, p.hits, p.changed = f, 0, make(chan struct{})
}

// Hits is how many requests the fault has befallen since it was set.
func (p *FaultProxy) Hits() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hits
}

// Close ends the proxy and its connections.
func (p *FaultProxy) Close() error {
	err := p.server.Close()
	<-p.served
	p.transport.CloseIdleConnections()
	return err
}

// befalls gives the fault of a request.
func (p *FaultProxy) befalls(r *http.Request) (f Fault, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f = p.fault
	if f.Only != nil && !f.Only(r) || f.Times > 0 && p.hits >= f.Times {
		return Fault{}, nil
	}
	p.hits++
	return f, p.changed
}

// ServeHTTP passes a request on.
func (p *FaultProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, changed := p.befalls(r)
	if f.Down {
		reset(w)
		return
	}
	if f.Before != nil && f.Before(w, r) {
		return
	}
	select {
	case <-time.After(f.Delay):
	case <-r.Context().Done():
		return
	}
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.RequestURI = "http", p.to, ""
	out.Header.Del("Expect")
	if r.ContentLength == 0 {
		out.Body = http.NoBody
	} else {
		out.Body = io.NopCloser(&slowReader{r.Body, f.BytesPerSecond, changed})
	}
	resp, err := p.transport.RoundTrip(out)
	if err != nil {
		reset(w)
		return
	}
	original := resp.Body
	defer original.Close()
	resp.Body = io.NopCloser(&slowReader{resp.Body, f.BytesPerSecond, changed})
	f.answer(w, r, resp)
}

func (f Fault) answer(w http.ResponseWriter, r *http.Request, resp *http.Response) {
	if f.Lose || f.Hold {
		_, _ = io.Copy(io.Discard, resp.Body) // a server that is done, whatever it says
		if f.Hold {
			<-r.Context().Done()
		}
		reset(w)
		return
	}
	if f.After != nil {
		f.After(resp)
	}
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	half := int64(-1)
	if f.Break || f.Truncate || f.Alter {
		half = max(resp.ContentLength, 0) / 2
	}
	w.WriteHeader(resp.StatusCode)
	if half >= 0 && resp.ContentLength > 0 {
		f.damage(w, resp.Body, half)
		return
	}
	_, _ = io.Copy(flushed{w}, resp.Body) // who goes away has nobody to tell
}

// damage gives half of a body as it is, and the rest as the fault wants it.
func (f Fault) damage(w http.ResponseWriter, body io.Reader, half int64) {
	_, _ = io.CopyN(flushed{w}, body, half) // as above
	switch {
	case f.Break:
		reset(w)
	case f.Truncate:
		panic(http.ErrAbortHandler) // the announced length is not reached; net/http closes in good order
	default:
		var one [1]byte
		if _, err := io.ReadFull(body, one[:]); err != nil {
			return
		}
		one[0] ^= 1
		_, _ = w.Write(one[:])
		_, _ = io.Copy(flushed{w}, body)
	}
}

// reset ends the connection of a request with a TCP RST.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // else it is closed in good order, which serves as well
	}
	_ = conn.Close()
}

// slowReader reads no faster than so many bytes a second, until the end.
type slowReader struct {
	io.Reader
	bytesPerSecond int
	end            <-chan struct{}
}

func (s *slowReader) Read(p []byte) (int, error) {
	if s.bytesPerSecond > 0 {
		p = p[:min(len(p), max(s.bytesPerSecond/20, 1))]
	}
	n, err := s.Reader.Read(p)
	if s.bytesPerSecond > 0 && n > 0 {
		select {
		case <-s.end:
			return n, io.ErrUnexpectedEOF
		case <-time.After(time.Duration(n) * time.Second / time.Duration(s.bytesPerSecond)):
		}
	}
	return n, err
}

// flushed sends on what comes at once.
type flushed struct{ w http.ResponseWriter }

func (f flushed) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	return n, errors.Join(err, http.NewResponseController(f.w).Flush())
}
