package postfix

import "strings"

// chunk is a piece of a configuration file. All chunks together are the file, byte for byte.
type chunk struct {
	text string
	// entry is set for a logical line: one that starts in the first column, with its continuation lines and the
	// comments between them. Everything else says nothing to Postfix: comments, empty lines, and text that continues
	// no line.
	entry bool
}

// split divides a file as Postfix reads it (postconf(5), master(5)): a line that starts with white space continues
// the one before, and comments and empty lines may stand between.
func split(text string) []chunk {
	var chunks []chunk
	entry, pending := "", ""
	flush := func() {
		if entry != "" {
			chunks = append(chunks, chunk{text: entry, entry: true})
		}
		if pending != "" {
			chunks = append(chunks, chunk{text: pending})
		}
		entry, pending = "", ""
	}
	for line := range strings.Lines(text) {
		switch {
		case isComment(line):
			pending += line
		case !startsBlank(line):
			flush()
			entry = line
		case entry != "":
			entry, pending = entry+pending+line, ""
		default:
			pending += line
		}
	}
	flush()
	return chunks
}

// blanks is what Postfix takes for white space.
const blanks = " \t\r\n\v\f"

func startsBlank(line string) bool { return strings.IndexByte(blanks, line[0]) >= 0 }

// isComment says whether a physical line is a comment or empty.
func isComment(line string) bool {
	rest := strings.TrimLeft(line, blanks)
	return rest == "" || rest[0] == '#'
}

// logical is an entry without its line breaks and the comments inside.
func logical(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !isComment(line) {
			b.WriteString(strings.TrimRight(line, "\r\n"))
		}
	}
	return b.String()
}

// join is the reverse of split.
func join(chunks []chunk) string {
	var b strings.Builder
	for _, c := range chunks {
		b.WriteString(c.text)
	}
	return b.String()
}

// endLine completes the last line, so that another can follow.
func endLine(chunks []chunk) {
	if n := len(chunks); n > 0 && !strings.HasSuffix(chunks[n-1].text, "\n") {
		chunks[n-1].text += "\n"
	}
}

// sameText compares entries, whether or not they end the file without a line break.
func sameText(a, b string) bool { return strings.TrimRight(a, "\n") == strings.TrimRight(b, "\n") }

// Fields are the elements of a list in Postfix's syntax: divided by white space and commas, except within braces.
func Fields(value string) []string {
	var out []string
	for _, s := range spans(value, blanks+",") {
		out = append(out, value[s.start:s.end])
	}
	return out
}

// span is where a word stands in a text.
type span struct{ start, end int }

// spans finds the words of a text that are divided by any of the separators, except within braces.
func spans(text, separators string) []span {
	var out []span
	start, depth := -1, 0
	for i := range len(text) {
		if depth <= 0 && strings.IndexByte(separators, text[i]) >= 0 {
			if start >= 0 {
				out = append(out, span{start, i})
			}
			start, depth = -1, 0
			continue
		}
		if start < 0 {
			start = i
		}
		switch text[i] {
		case '{':
			depth++
		case '}':
			depth--
		}
	}
	if start >= 0 {
		out = append(out, span{start, len(text)})
	}
	return out
}
