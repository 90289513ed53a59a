package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/cmd/internal/command/commandtest"
	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/internal/listen"
	"github.com/mairust/mairust/store/blob/crypt"
	"github.com/mairust/mairust/store/blob/s3"
)

var update = flag.Bool("update", false, "rewrite the generated references in docs/")

func TestCommandReferenceIsCurrent(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("# Commands\n\nGenerated from the commands' own help; `go test ./cmd/mairust -run Reference -update` rewrites it.\n")
	commandtest.WriteReference(t, &b, rootCommand())
	commandtest.Compare(t, "../../docs/cli.md", b.Bytes(), *update)
}

func TestMetricsReferenceIsCurrent(t *testing.T) {
	c := config.Default()
	dir := t.TempDir()
	c.DataDir, c.RunDir, c.Secrets.Keyring = dir, dir, "file:"+dir+"/keyring"
	c.Database.Path, c.Storage.Options.BasePath = dir+"/x.db", dir+"/mail"
	_, recipient, err := crypt.NewOperator(time.Now())
	require.NoError(t, err)
	c.Storage.Options.Encryption, c.Storage.Encryption.OperatorRecipients = config.EncryptClient, []string{recipient}
	c.Milter.Rspamd.URL = "http://127.0.0.1:11333" // never asked
	c.Outbound.Bounces.File, c.Outbound.Bounces.Host = dir+"/mail.log", "mx.example.test"
	d := &daemon{config: c, roles: allRoles, log: slog.New(slog.DiscardHandler), registry: prometheus.NewRegistry()}
	d.sockets = listen.NewMetrics(d.registry)
	require.NoError(t, d.open(context.Background()))
	defer d.site.Close()
	require.NoError(t, d.build())
	inS3, err := s3.New(context.Background(), s3.Options{Bucket: "mail", Endpoint: "http://127.0.0.1:9", Registerer: d.registry}) // never asked
	require.NoError(t, err)
	defer inS3.Close()

	var b bytes.Buffer
	b.WriteString("# Metrics\n\nAt `/metrics` of the ops listener, beside Go's own and those of the process. " +
		"Generated; `go test ./cmd/mairust -run Reference -update` rewrites it.\n\n| metric | labels | meaning |\n| --- | --- | --- |\n")
	for _, line := range describeMetrics(t, d.registry) {
		b.WriteString(line + "\n")
	}
	commandtest.Compare(t, "../../docs/metrics.md", b.Bytes(), *update)
}

// descriptor is how a prometheus.Desc prints itself, which is the only way to its parts.
var descriptor = regexp.MustCompile(`^Desc\{fqName: "([^"]*)", help: "(.*?)", unit: "[^"]*", constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

func describeMetrics(t *testing.T, r *prometheus.Registry) []string {
	t.Helper()
	descs := make(chan *prometheus.Desc)
	go func() { defer close(descs); r.Describe(descs) }()
	var lines []string
	for desc := range descs {
		parts := descriptor.FindStringSubmatch(desc.String())
		require.NotNil(t, parts, desc.String())
		require.Regexp(t, `^mairust_[a-z_]+$`, parts[1])
		require.NotEmpty(t, parts[2], parts[1])
		labels := parts[4]
		if labels != "" {
			labels = "`" + strings.ReplaceAll(labels, ",", "`, `") + "`"
		}
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s |", parts[1], labels, parts[2]))
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}
