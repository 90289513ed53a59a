package api_test

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestOpenAPIDocumentIsTheOneInTheTree(t *testing.T) {
	r := newRig(t, "sqlite", apiDefaults)
	a := r.get(t, "", "/api/v1/openapi.json")
	require.Equal(t, http.StatusOK, a.StatusCode)
	golden := filepath.Join("testdata", "openapi.json")
	if *update {
		require.NoError(t, os.WriteFile(golden, append(a.body, '\n'), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(string(want)), string(a.body), "run the test with -update if this is meant")
}

func TestOpenAPIDocumentIsWhole(t *testing.T) {
	r := newRig(t, "sqlite", apiDefaults)
	body := r.get(t, "", "/api/v1/openapi.json").body
	var doc struct {
		OpenAPI string
		Info    struct{ Title, Version string }
		Paths   map[string]map[string]struct {
			OperationID string
			Summary     string
			Security    []map[string][]string
			Responses   map[string]struct{ Content map[string]any }
		}
		Components struct{ Schemas, SecuritySchemes map[string]any }
	}
	require.NoError(t, json.Unmarshal(body, &doc))
	require.Regexp(t, `^3\.1\.`, doc.OpenAPI)
	require.Equal(t, "MaiRust", doc.Info.Title)
	require.Equal(t, "0.1.0", doc.Info.Version)
	seen := map[string]bool{}
	for path, methods := range doc.Paths {
		require.True(t, strings.HasPrefix(path, "/api/v1/"), path)
		for method, op := range methods {
			require.NotEmpty(t, op.Summary, path)
			require.False(t, seen[op.OperationID], "operation id %s is used twice", op.OperationID)
			seen[op.OperationID] = true
			require.Equal(t, op.OperationID != "login", len(op.Security) > 0, "%s %s", method, path)
			require.Contains(t, op.Responses["default"].Content, "application/problem+json", "%s %s", method, path)
		}
	}
	require.Len(t, seen, 48)
	for _, ref := range regexp.MustCompile(`"#/components/schemas/([^"]+)"`).FindAllStringSubmatch(string(body), -1) {
		require.Contains(t, doc.Components.Schemas, ref[1])
	}
	require.NotContains(t, doc.Components.Schemas, "ErrorModel")
	require.Len(t, doc.Components.SecuritySchemes, 2)
}

func TestDocumentationHasEveryOperation(t *testing.T) {
	r := newRig(t, "sqlite", apiDefaults)
	var doc struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	require.NoError(t, json.Unmarshal(r.get(t, "", "/api/v1/openapi.json").body, &doc))
	page := string(r.get(t, "", "/api/v1/docs").body)
	operations := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			operations++
			require.Contains(t, page, `<h2 id="`+op.OperationID+`"><b>`+strings.ToUpper(method)+`</b> `+path+`</h2>`)
		}
	}
	require.Positive(t, operations)
	require.Equal(t, operations, strings.Count(page, "<h2 "))
}

func TestDocumentationLoadsNothingFromElsewhere(t *testing.T) {
	r := newRig(t, "sqlite", apiDefaults)
	a := r.get(t, "", "/api/v1/docs")
	require.Equal(t, http.StatusOK, a.StatusCode)
	page := string(a.body)
	for _, operation := range []string{"/api/v1/messages/{id}/raw", "/api/v1/auth/login", "/api/v1/api-keys"} {
		require.Contains(t, page, operation)
	}
	require.NotContains(t, page, "<script")
	require.NotRegexp(t, `(?i)(src|href)="?(https?:)?//`, page)
	require.Contains(t, a.Header.Get("Content-Security-Policy"), "default-src 'none'")
	require.NotContains(t, a.Header.Get("Content-Security-Policy"), "unsafe")
}
