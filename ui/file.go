package ui

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/attachment"
)

// fileHeader announces a file that is saved and never shown by the browser itself.
func (p *page) fileHeader(mediaType, name string) {
	h := p.w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Disposition", attachment.Disposition(name))
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
}

// openFile opens what may take longer to read than a page: the opening has the page's time, the reading that of the client.
func (p *page) openFile(open func(ctx context.Context) (io.ReadCloser, error)) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(p.client)
	late := context.AfterFunc(p.ctx(), cancel)
	r, err := open(ctx)
	if !late() && err == nil {
		err = errors.Join(p.ctx().Err(), r.Close())
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &file{ReadCloser: r, cancel: cancel}, nil
}

// file is what openFile has opened.
type file struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close ends the reading.
func (f *file) Close() error {
	defer f.cancel()
	return f.ReadCloser.Close()
}

// stream copies to the client. Once begun, a failure cuts the connection, so that nobody takes a part for all.
func (s *Server) stream(p *page, m *store.Message, src io.ReadCloser) error {
	out := &taker{w: p.w}
	_, err := io.Copy(out, src)
	if closeErr := src.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		return nil
	}
	if !out.gone && p.client.Err() == nil {
		s.bodyFailed(p, m, err)
	}
	panic(http.ErrAbortHandler)
}

// taker is the client of a download. It hides the other methods of the writer, so that each piece gets its own time.
type taker struct {
	w io.Writer
	// gone is set when the client has left, or takes nothing any more.
	gone bool
}

// Write implements io.Writer.
func (t *taker) Write(b []byte) (int, error) {
	n, err := t.w.Write(b)
	t.gone = t.gone || err != nil
	return n, err
}
