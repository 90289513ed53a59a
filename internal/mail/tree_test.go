package mail_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mairust/mairust/internal/mail"
)

// found is what a part must be: its section number, type and encoded body.
type found struct{ ID, Type, Body string }

// treeWriter draws a MIME tree and notes what must be found in it.
type treeWriter struct {
	t     *rapid.T
	parts []found
	count int
}

// entity gives a header with blank line, and a body; prefix is that of the section numbers inside the container.
func (w *treeWriter) entity(id, textID, prefix string, depth int) string {
	kinds := []string{"leaf", "leaf", "multipart", "message"}
	if depth > 4 {
		kinds = kinds[:1]
	}
	at := len(w.parts)
	w.parts = append(w.parts, found{})
	var f found
	header := ""
	switch rapid.SampledFrom(kinds).Draw(w.t, "kind") {
	case "multipart":
		w.count++
		boundary := strings.Repeat("-", rapid.IntRange(0, 3).Draw(w.t, "dashes")) + fmt.Sprint("b", w.count)
		header = fmt.Sprintf("Content-Type: multipart/mixed;\r\n boundary=%q\r\n\r\n", boundary)
		f = found{ID: textID, Type: "multipart/mixed", Body: "preamble\r\n"}
		for i := range rapid.IntRange(1, 3).Draw(w.t, "children") {
			child := fmt.Sprint(prefix, i+1)
			f.Body += "--" + boundary + "\r\n" + w.entity(child, child, child+".", depth+1) + "\r\n"
		}
		f.Body += "--" + boundary + "--"
	case "message":
		header = "Content-Type: message/rfc822\r\n\r\n"
		f = found{ID: id, Type: "message/rfc822"}
		f.Body = w.entity(id+".1", id+".TEXT", id+".", depth+1)
	default:
		header = "Content-Type: text/x-leaf\r\n\r\n"
		f = found{ID: id, Type: "text/x-leaf", Body: rapid.StringMatching(`([a-c-]{0,5}(\r\n|\n|\r)?){0,5}`).Draw(w.t, "body")}
	}
	w.parts[at] = f
	return header + f.Body
}

func TestEveryTreeIsFoundAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := treeWriter{t: t}
		raw := []byte("From: a@b.test\r\n" + w.entity("1", "", "", 0))
		s, err := mail.Summarize(strings.NewReader(string(raw)), mail.Limits{})
		require.NoError(t, err)
		var got []found
		for _, p := range s.Parts {
			got = append(got, found{ID: p.ID, Type: p.Type, Body: string(raw[p.Offset : p.Offset+p.Size])})
		}
		require.Equal(t, w.parts, got, "%s", raw)
		requireSound(t, raw, s)
	})
}
