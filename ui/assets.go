package ui

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

//go:embed assets/*.css assets/*.js assets/*.svg assets/vendor/*.js
var assetFiles embed.FS

// assets are the files that pages load. The address of each holds its digest, so that a browser may keep it for
// ever and still gets a new one after an update.
type assets struct {
	// address is by name, content by address.
	address map[string]string
	content map[string][]byte
}

func (s *Server) loadAssets() error {
	a := &assets{address: map[string]string{}, content: map[string][]byte{}}
	err := fs.WalkDir(assetFiles, "assets", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := assetFiles.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		base := path.Base(name)
		a.address[base] = "/assets/" + hex.EncodeToString(sum[:8]) + "/" + base
		a.content[a.address[base]] = content
		return nil
	})
	if err != nil {
		return fmt.Errorf("load assets: %w", err)
	}
	s.assets = a
	return nil
}

// asset serves a file.
func (s *Server) asset(w http.ResponseWriter, r *http.Request) {
	factsOf(r.Context()).route = "GET /assets/"
	content, ok := s.assets.content[r.URL.Path]
	if !ok {
		s.fail(s.newPage(w, r), problemNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", mime.TypeByExtension(path.Ext(r.URL.Path)))
	if strings.HasSuffix(r.URL.Path, ".js") {
		h.Set("Content-Type", "text/javascript; charset=utf-8") // whatever the host's tables say
	}
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	// An error here is the client's, who has left.
	_, _ = w.Write(content)
}
