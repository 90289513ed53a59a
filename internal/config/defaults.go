package config

import (
	"bufio"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/mairust/mairust/policy"
)

// Defaults writes the embedded defaults of this process's user as a commented file, which loads to exactly them.
// Keys that follow from another key are commented out, so that they go on following it; data_dir, which follows from the
// user, is not.
func Defaults(w io.Writer) error {
	const head = "# MaiRust configuration: every key with its default. Keep what you change, remove the rest.\n" +
		"# A commented key follows from another key; its value here is what it comes to.\n" +
		"# Secrets may be given as env:NAME or file:PATH.\n"
	if _, err := io.WriteString(w, head); err != nil {
		return err
	}
	return writeYAML(w, Default(), style{comments: true})
}

// OutboundSettings writes the engine's part of the section outbound as YAML, without the name of the section.
func OutboundSettings(o policy.Options) (string, error) {
	var b strings.Builder
	p := printer{w: bufio.NewWriter(&b)}
	p.section("outbound", reflect.ValueOf(&o).Elem(), "")
	err := p.w.Flush()
	return b.String(), err
}

// style chooses between a file to edit and a dump to read.
type style struct{ comments bool }

// writeYAML writes c as YAML; set secrets are covered.
func writeYAML(w io.Writer, c *Config, s style) error {
	p := printer{w: bufio.NewWriter(w), style: s}
	p.section("", reflect.ValueOf(c).Elem(), "")
	return p.w.Flush()
}

// printer's writer keeps the first error until Flush.
type printer struct {
	w *bufio.Writer
	style
}

func (p *printer) line(parts ...string) {
	for _, s := range parts {
		_, _ = p.w.WriteString(s) // kept until Flush
	}
	_ = p.w.WriteByte('\n') // kept until Flush
}

func (p *printer) section(path string, v reflect.Value, indent string) {
	for _, f := range fieldsOf(v) {
		p.key(joinKey(path, f.name), f, indent)
	}
}

func (p *printer) key(path string, f field, indent string) {
	k, _ := describe(path)
	if p.comments {
		if indent == "" {
			p.line()
		}
		p.line(indent, "# ", k.doc, hint(k))
	}
	if f.value.Kind() == reflect.Struct {
		p.line(indent, f.name, ":")
		p.section(path, f.value, indent+"  ")
		return
	}
	off := ""
	if p.comments && k.from != "" && !isUsers(path, f.value) {
		off = "# "
	}
	if isList(f.value.Type()) && f.value.Len() > 0 {
		p.line(indent, off, f.name, ":")
		for i := range f.value.Len() {
			p.line(indent, off, "  - ", flow(joinKey(path, "[]"), f.value.Index(i)))
		}
		return
	}
	p.line(indent, off, f.name, ": ", flow(path, f.value))
}

// isUsers says of a key that follows from who asks. It is not commented out: another user, such as that of the service, would read
// another value there.
func isUsers(path string, v reflect.Value) bool {
	return path == "data_dir" || path == "run_dir" && v.String() == systemRunDir
}

// hint lists allowed values behind a comment.
func hint(k key) string {
	if len(k.allowed) < 2 {
		return ""
	}
	return " (" + strings.Join(k.allowed, " | ") + ")"
}

// flow writes a value on one line.
func flow(path string, v reflect.Value) string {
	if v.Type() == durationType {
		return durationText(time.Duration(v.Int()))
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "null"
		}
		return flow(path, v.Elem())
	case reflect.Struct:
		return flowSection(path, v)
	case reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = flow(path+"[]", v.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.String:
		if k, _ := describe(path); k.secret && v.String() != "" {
			return strconv.Quote(covered)
		}
		return text(v.String())
	default:
		return fmt.Sprint(v.Interface())
	}
}

// covered stands for a secret wherever a configuration is printed.
const covered = "(secret)"

// flowSection leaves out what is empty: in a list of listeners or rules that is nearly everything.
func flowSection(path string, v reflect.Value) string {
	var items []string
	for _, f := range fieldsOf(v) {
		if !f.value.IsZero() {
			items = append(items, f.name+": "+flow(joinKey(path, f.name), f.value))
		}
	}
	return "{" + strings.Join(items, ", ") + "}"
}

// text writes words as they are and puts all else in double quotes.
func text(s string) string {
	for _, r := range s {
		if r != '_' && (r < 'a' || r > 'z') {
			return strconv.Quote(s)
		}
	}
	switch s {
	case "", "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		return strconv.Quote(s)
	}
	return s
}
