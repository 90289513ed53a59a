package postfix

import (
	"slices"
	"strings"
)

// MainCF is the text of a main.cf that can be changed one parameter at a time. Whatever is not changed stays as it
// is, byte for byte: comments, order, continuation lines, line ends. The zero value is an empty file.
type MainCF struct{ chunks []chunk }

// ParseMain never fails: what Postfix would not understand is kept and not touched.
func ParseMain(text string) *MainCF { return &MainCF{split(text)} }

// String is the file.
func (m *MainCF) String() string { return join(m.chunks) }

// Clone is a copy that can be changed on its own.
func (m *MainCF) Clone() *MainCF { return &MainCF{slices.Clone(m.chunks)} }

// Get gives the value of a parameter as it is written, without expanding anything. Of several entries Postfix takes
// the last. ok is false when the file does not have the parameter, and the default holds.
func (m *MainCF) Get(name string) (value string, ok bool) {
	i := m.find(name)
	if i < 0 {
		return "", false
	}
	_, value = parameter(m.chunks[i].text)
	return value, true
}

// Entry is the text of a parameter's entry with its line breaks; "" when there is none.
func (m *MainCF) Entry(name string) string {
	if i := m.find(name); i >= 0 {
		return m.chunks[i].text
	}
	return ""
}

// Set changes a parameter where it stands, or adds it at the end. Line breaks in the value become spaces.
func (m *MainCF) Set(name, value string) {
	text := strings.TrimRight(name+" = "+strings.Join(strings.FieldsFunc(value, isBreak), " "), blanks) + "\n"
	m.put(name, text)
}

func isBreak(r rune) bool { return r == '\n' || r == '\r' }

// put replaces the entry of a parameter by a text, or adds it.
func (m *MainCF) put(name, text string) {
	if i := m.find(name); i >= 0 {
		m.chunks[i].text = text
		if i < len(m.chunks)-1 {
			endLine(m.chunks[:i+1])
		}
		return
	}
	endLine(m.chunks)
	m.chunks = append(m.chunks, chunk{text: text, entry: true})
}

// Remove takes the entry of a parameter out. An earlier one of the same name, if any, holds then.
func (m *MainCF) Remove(name string) {
	if i := m.find(name); i >= 0 {
		m.chunks = slices.Delete(m.chunks, i, i+1)
	}
}

// removeComment takes a comment out, wherever it stands on lines of its own.
func (m *MainCF) removeComment(text string) { removeComment(m.chunks, text) }

func removeComment(chunks []chunk, text string) {
	for i, c := range chunks {
		if !c.entry {
			chunks[i].text = strings.TrimPrefix(strings.Replace("\n"+c.text, "\n"+text+"\n", "\n", 1), "\n")
		}
	}
}

func (m *MainCF) find(name string) int {
	for i := len(m.chunks) - 1; i >= 0; i-- {
		if !m.chunks[i].entry {
			continue
		}
		if n, _ := parameter(m.chunks[i].text); n == name {
			return i
		}
	}
	return -1
}

// parameter takes an entry apart; name is "" when it has no equals sign.
func parameter(entry string) (name, value string) {
	name, value, found := strings.Cut(logical(entry), "=")
	if !found {
		return "", ""
	}
	return strings.Trim(name, blanks), strings.Trim(value, blanks)
}
