package ui

import "github.com/mairust/mairust/store/attachment"

// fileHeader announces a file that is saved and never shown by the browser itself.
func (p *page) fileHeader(mediaType, name string) {
	h := p.w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Disposition", attachment.Disposition(name))
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
}
