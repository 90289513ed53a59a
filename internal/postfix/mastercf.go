package postfix

import (
	"slices"
	"strings"
)

// MasterCF is the text of a master.cf that can be changed one service at a time; see MainCF.
type MasterCF struct{ chunks []chunk }

// ParseMaster never fails: what Postfix would not understand is kept and not touched.
func ParseMaster(text string) *MasterCF { return &MasterCF{split(text)} }

// String is the file.
func (m *MasterCF) String() string { return join(m.chunks) }

// Clone is a copy that can be changed on its own.
func (m *MasterCF) Clone() *MasterCF { return &MasterCF{slices.Clone(m.chunks)} }

// Service is one entry of master.cf (master(5)).
type Service struct {
	// Name is as written: "smtp", "127.0.0.1:10025", "local".
	Name string
	// Type is inet, unix, fifo, pass or unix-dgram.
	Type string
	// Chroot is "y", "n", or "-" for the default.
	Chroot string
	// Processes is how many may run at once: a number, or "-" for the default.
	Processes string
	// Command is the program: smtpd, lmtp, local.
	Command string
	// Options are the -o overrides of main.cf; of several with one name the last holds.
	Options map[string]string
	// Line is where the entry starts, from 1.
	Line int
}

// Key tells services apart: name and type, as postconf -M has it.
func (s Service) Key() string { return s.Name + "/" + s.Type }

// serviceFields are the columns of master.cf before the arguments.
const serviceFields = 8

// Services are the entries of the file, in order.
func (m *MasterCF) Services() []Service {
	var out []Service
	line := 1
	for _, c := range m.chunks {
		if s, ok := parseService(c); ok {
			s.Line = line
			out = append(out, s)
		}
		line += strings.Count(c.text, "\n")
	}
	return out
}

func parseService(c chunk) (Service, bool) {
	if !c.entry {
		return Service{}, false
	}
	text := blankComments(c.text)
	words := spans(text, blanks)
	if len(words) < serviceFields {
		return Service{}, false
	}
	word := func(i int) string { return text[words[i].start:words[i].end] }
	s := Service{Name: word(0), Type: word(1), Chroot: word(4), Processes: word(6), Command: word(7), Options: map[string]string{}}
	for _, o := range options(text, words) {
		s.Options[o.name] = o.value
	}
	return s, true
}

// blankComments replaces comment lines by as many spaces, so that positions stay.
func blankComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if isComment(line) {
			line = strings.Repeat(" ", len(line))
		}
		b.WriteString(line)
	}
	return b.String()
}

// option is one -o argument. at is the whole of it after the -o, and flag the -o itself, which may be one word with it.
type option struct {
	name, value string
	flag, at    span
}

// options finds the -o arguments: "-o name=value", "-oname=value" and "-o { name = value }".
func options(text string, words []span) []option {
	var out []option
	for i := serviceFields; i < len(words); i++ {
		w := words[i]
		if !strings.HasPrefix(text[w.start:w.end], "-o") {
			continue
		}
		o := option{flag: span{w.start, w.start + 2}, at: span{w.start + 2, w.end}}
		if o.at.start == o.at.end {
			if i++; i == len(words) {
				break
			}
			o.at = words[i]
		}
		argument := text[o.at.start:o.at.end]
		if strings.HasPrefix(argument, "{") && strings.HasSuffix(argument, "}") {
			argument = argument[1 : len(argument)-1]
		}
		name, value, _ := strings.Cut(argument, "=")
		o.name, o.value = strings.Trim(name, blanks), strings.Trim(value, blanks)
		out = append(out, o)
	}
	return out
}

// Entry is the text of a service's entry with its line breaks; "" when there is none.
func (m *MasterCF) Entry(key string) string {
	if i := m.find(key); i >= 0 {
		return m.chunks[i].text
	}
	return ""
}

// SetOption changes an -o override where it stands, or adds a line to the service. It reports whether it could: not
// when there is no such service, or its entry is malformed.
func (m *MasterCF) SetOption(key, name, value string) bool {
	i := m.find(key)
	if i < 0 {
		return false
	}
	before := m.chunks[i].text
	argument := override(name, value)
	if !m.replaceOption(i, name, argument) {
		m.chunks[i].text = strings.TrimRight(before, "\n") + "\n  -o " + argument + "\n"
	}
	if s, ok := parseService(m.chunks[i]); !ok || s.Options[name] != value || len(split(m.chunks[i].text)) != 1 {
		m.chunks[i].text = before
		return false
	}
	return true
}

// override spells the argument of an -o.
func override(name, value string) string {
	if strings.ContainsAny(value, blanks) {
		return "{ " + name + " = " + value + " }"
	}
	return name + "=" + value
}

// replaceOption changes every place of an override, the last first: positions before it stay.
func (m *MasterCF) replaceOption(i int, name, argument string) (found bool) {
	for _, o := range slices.Backward(m.options(i)) {
		if o.name != name {
			continue
		}
		found = true
		space := ""
		if o.flag.end == o.at.start {
			space = " "
		}
		m.chunks[i].text = m.chunks[i].text[:o.at.start] + space + argument + m.chunks[i].text[o.at.end:]
	}
	return found
}

func (m *MasterCF) options(i int) []option {
	text := blankComments(m.chunks[i].text)
	return options(text, spans(text, blanks))
}

// put replaces the entry of a service by a text, or adds it at the end.
func (m *MasterCF) put(key, text string) {
	if i := m.find(key); i >= 0 {
		m.chunks[i].text = text
		if i < len(m.chunks)-1 {
			endLine(m.chunks[:i+1])
		}
		return
	}
	endLine(m.chunks)
	m.chunks = append(m.chunks, chunk{text: text, entry: true})
}

// Remove takes a service out.
func (m *MasterCF) Remove(key string) {
	if i := m.find(key); i >= 0 {
		m.chunks = slices.Delete(m.chunks, i, i+1)
	}
}

func (m *MasterCF) removeComment(text string) { removeComment(m.chunks, text) }

func (m *MasterCF) find(key string) int {
	for i := len(m.chunks) - 1; i >= 0; i-- {
		if s, ok := parseService(m.chunks[i]); ok && s.Key() == key {
			return i
		}
	}
	return -1
}
