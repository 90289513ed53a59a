package api

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // for the template
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed docs.html
var docsHTML string

//go:embed docs.css
var docsCSS string

// registerDocs serves the OpenAPI document and a page made from it, once, at the start. The page has no
// script and loads nothing from anywhere.
func (s *Server) registerDocs(api huma.API) error {
	forgetHumaErrors(api)
	spec, err := json.MarshalIndent(api.OpenAPI(), "", "  ")
	if err != nil {
		return fmt.Errorf("make OpenAPI document: %w", err)
	}
	page, err := docsPage(api.OpenAPI())
	if err != nil {
		return fmt.Errorf("make page of the API: %w", err)
	}
	style := sha256.Sum256([]byte(docsCSS))
	policy := "default-src 'none'; frame-ancestors 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(style[:]) + "'"
	serve := func(path, contentType, policy string, body []byte) {
		api.Adapter().Handle(&huma.Operation{Method: http.MethodGet, Path: path}, func(c huma.Context) {
			c.SetHeader("Content-Type", contentType)
			c.SetHeader("Content-Security-Policy", policy)
			c.SetHeader("Cache-Control", "no-cache")
			c.SetStatus(http.StatusOK)
			if _, err := c.BodyWriter().Write(body); err != nil {
				s.d.Log.DebugContext(c.Context(), "document not sent", "err", err)
			}
		})
	}
	serve("/api/v1/openapi.json", "application/openapi+json", "default-src 'none'", spec)
	serve("/api/v1/docs", "text/html; charset=utf-8", policy, page)
	return nil
}

// forgetHumaErrors removes the error schemas that huma adds and that we never send.
func forgetHumaErrors(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas.Map()
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
}

// docsEntry is one operation on the page.
type docsEntry struct {
	Method, Path string
	*huma.Operation
}

func docsPage(spec *huma.OpenAPI) ([]byte, error) {
	t, err := template.New("docs").Parse(docsHTML)
	if err != nil {
		return nil, err
	}
	var entries []docsEntry
	for path, item := range spec.Paths {
		for method, op := range map[string]*huma.Operation{
			http.MethodGet: item.Get, http.MethodPut: item.Put, http.MethodPost: item.Post, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
		} {
			if op != nil {
				entries = append(entries, docsEntry{Method: method, Path: path, Operation: op})
			}
		}
	}
	slices.SortFunc(entries, func(a, b docsEntry) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Method, b.Method))
	})
	var page bytes.Buffer
	err = t.Execute(&page, map[string]any{"Info": spec.Info, "Entries": entries, "Style": template.CSS(docsCSS)}) //nolint:gosec // our own file
	return page.Bytes(), err
}
