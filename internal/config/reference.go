package config

import (
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/mairust/mairust/internal/listen"
)

// Reference writes docs/config.md: each key with its type, default and meaning.
func Reference(w io.Writer) error {
	var b strings.Builder
	b.WriteString(referenceHead)
	var sections []field
	var top []row
	for _, f := range fieldsOf(reflect.ValueOf(newDefault(true)).Elem()) {
		if f.value.Kind() == reflect.Struct {
			sections = append(sections, f)
			continue
		}
		top = append(top, newRow(f.name, f.value))
		if isList(f.value.Type()) {
			top = append(top, rowsOf(f.name+"[]", reflect.New(f.value.Type().Elem()).Elem())...)
		}
	}
	writeRows(&b, "Top level", "Folders, and the bulk senders.", top)
	for _, f := range sections {
		k, _ := describe(f.name)
		writeRows(&b, "`"+f.name+"`", k.doc, rowsOf(f.name, f.value))
	}
	writeRows(&b, "Listeners", "Each item of a list of listeners has these keys. An empty list, `[]`, switches the service off; no list means its default.",
		rowsOf("listeners[]", reflect.ValueOf(listen.Options{})))
	b.WriteString("\n## Example\n\n```yaml\n" + Example + "```\n")
	_, err := io.WriteString(w, b.String())
	return err
}

const referenceHead = `# Configuration reference

<!-- Generated from internal/config; rewrite it with: go test ./internal/config -run Reference -update -->

One YAML file: the one given by ` + "`--config`, else `/etc/mairust/config.yaml`, else `~/.config/mairust/config.yaml`, else `./config.yaml`" + `;
with none of them, the defaults below. ` + "`mairust config defaults` prints a file to start from, `mairust config check`" + ` finds every mistake
in one. An unknown key, a key given twice or a bad value stops the start, with file, line and column. Anchors, aliases and tags are not
allowed, the file is UTF-8 and at most 1 MiB.

Keys marked 🔑 are secrets: never printed, and best given as ` + "`env:NAME` or `file:PATH`" + ` (a file of one line; a relative path is taken
from the working directory). Keys marked ⟳ apply on ` + "`mairust reload`" + ` or SIGHUP; the others need a restart, and reload says which.
Durations are written with their unit, as ` + "`30s`, `5m` or `1h30m`" + `.
`

// Example is a configuration of a small site with PostgreSQL; the reference ends with it.
const Example = `database:
  backend: postgres
  url: file:/etc/mairust/database-url
milter:
  listeners:
    - address: unix:/var/spool/postfix/mairust/milter.sock
      socket_group: postfix
  rspamd:
    url: http://127.0.0.1:11333
    add_header: quarantine
  rules:
    - name: programs
      attachment_name_matches: '\.(exe|scr|js|vbs)$'
      not:
        client: [192.0.2.0/24]
      action: reject
      reply: {text: "We do not take programs by mail"}
    - name: newsletters
      header:
        - {name: List-Unsubscribe, matches: .}
      tags: [newsletter]
http:
  listeners:
    - address: inet:0.0.0.0:8443
      tls: implicit
      cert: /etc/mairust/tls/cert.pem
      key: /etc/mairust/tls/key.pem
  public_url: https://mail.example.com:8443
log:
  level: warn
`

// row is one line of the reference.
type row struct {
	path  string
	value reflect.Value
	key   key
}

func newRow(path string, v reflect.Value) row {
	k, _ := describe(path)
	return row{path, v, k}
}

// rowsOf lists the keys below path, also those of the items of lists, except of listeners, which have a part of
// their own.
func rowsOf(path string, v reflect.Value) []row {
	if v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct {
		v = reflect.New(v.Type().Elem()).Elem()
	}
	var rows []row
	for _, f := range fieldsOf(v) {
		p := joinKey(path, f.name)
		if tablePath(p) != p {
			continue
		}
		t := f.value.Type()
		switch {
		case isSection(t):
			if t.Kind() == reflect.Pointer {
				rows = append(rows, newRow(p, f.value)) // sections that may be left out
			}
			rows = append(rows, rowsOf(p, f.value)...)
		case isList(t):
			rows = append(rows, newRow(p, f.value))
			rows = append(rows, rowsOf(p+"[]", reflect.New(t.Elem()).Elem())...)
		default:
			rows = append(rows, newRow(p, f.value))
		}
	}
	return rows
}

func isSection(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct
}

func writeRows(b *strings.Builder, title, doc string, rows []row) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n", title, doc)
	for _, r := range rows {
		fmt.Fprintf(b, "| `%s`%s | %s | %s | %s |\n", r.path, r.marks(), r.kind(), r.defaultText(), cell(r.key.doc))
	}
}

func (r row) marks() string {
	marks := ""
	if r.key.secret {
		marks += " 🔑"
	}
	if r.key.live {
		marks += " ⟳"
	}
	return marks
}

// kind is the type, or the values that are allowed.
func (r row) kind() string {
	if r.key.pattern {
		return "regular expression"
	}
	if len(r.key.allowed) > 0 {
		return "`" + strings.Join(r.key.allowed, "`, `") + "`"
	}
	kind := wanted(r.value.Type())
	switch {
	case r.key.max > 0:
		kind += fmt.Sprintf(", %d to %d", r.key.min, r.key.max)
	case r.key.min > 0:
		kind += fmt.Sprintf(", %d and more", r.key.min)
	}
	return kind
}

func (r row) defaultText() string {
	switch {
	case r.key.from != "":
		return cell(r.key.from)
	case strings.Contains(r.path, "[]"), r.value.IsZero() && !r.value.CanInt() && r.value.Kind() != reflect.Bool:
		return "–"
	}
	return "`" + cell(flow(r.path, r.value)) + "`"
}

// cell escapes what would end a cell of a Markdown table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
