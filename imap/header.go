package imap

import (
	"strings"
)

// field is one header field of a message.
type field struct {
	// name is as the message has it.
	name string
	// raw is the whole field with its line ends; value what follows the colon, without white space at its ends.
	raw, value string
}

// joined is the value with its white space as it is written, but for the line ends.
func (f field) joined() string {
	_, value, _ := strings.Cut(f.raw, ":")
	return strings.NewReplacer("\r", "", "\n", "").Replace(strings.TrimLeft(value, " \t\r\n"))
}

// maxFields bounds what is looked at in one header.
const maxFields = 10_000

// splitHeader divides a header into fields, up to its blank line. Lines that are no fields are left out of the list.
func splitHeader(raw string) []field {
	var list []field
	for raw != "" && len(list) < maxFields {
		end := fieldEnd(raw)
		text := raw[:end]
		raw = raw[end:]
		if text == "\r\n" || text == "\n" {
			break
		}
		name, value, found := strings.Cut(text, ":")
		if !found {
			continue
		}
		list = append(list, field{
			name: strings.TrimRight(name, " \t"), raw: text,
			value: strings.Trim(value, " \t\r\n"),
		})
	}
	return list
}

// fieldEnd is behind the first field of raw: lines that begin with white space belong to the one before.
func fieldEnd(raw string) int {
	for i := 0; ; {
		n := strings.IndexByte(raw[i:], '\n')
		if n < 0 {
			return len(raw)
		}
		i += n + 1
		if i == len(raw) || raw[i] != ' ' && raw[i] != '\t' || isBlank(raw[:i]) {
			return i
		}
	}
}

func isBlank(line string) bool { return line == "\r\n" || line == "\n" }

// unfolded takes out the line ends of a folded value; the tab that begins a line becomes a space.
func unfolded(value string) string {
	if strings.IndexByte(value, '\n') < 0 && strings.IndexByte(value, '\r') < 0 {
		return value
	}
	return strings.NewReplacer("\r\n\t", " ", "\n\t", " ", "\r", "", "\n", "").Replace(value)
}

// headerEnd finds the end of the header in b: behind its blank line.
func headerEnd(b string) (int, bool) {
	for i := 0; i < len(b); {
		n := strings.IndexByte(b[i:], '\n')
		if n < 0 {
			break
		}
		if isBlank(b[i : i+n+1]) {
			return i + n + 1, true
		}
		i += n + 1
	}
	return len(b), false
}
