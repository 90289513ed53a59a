package imap

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// param is one parameter of a MIME header field.
type param struct{ name, value string }

// maxParams bounds those of one field.
const maxParams = 200

// parseParams reads "; name=value …". Continuations of RFC 2231, 3 are put together, and come after the others;
// what is percent-encoded stays so, under a name that ends in "*".
func (l *lexer) params() []param {
	var plain []param
	var pieces []continuation
	for !l.done() && len(plain)+len(pieces) < maxParams {
		p, ok := l.param()
		if !ok {
			if l.done() {
				break
			}
			l.b = l.b[1:] // something stands here that should not; go on behind it
			continue
		}
		if c, isPiece := continuationOf(p); isPiece {
			pieces = append(pieces, c)
		} else {
			plain = append(plain, p)
		}
	}
	return append(plain, joinContinuations(pieces)...)
}

func (l *lexer) param() (param, bool) {
	if !l.at(';') {
		return param{}, false
	}
	l.b = l.b[1:]
	if !l.skip() {
		return param{}, false
	}
	name, _ := l.token() // it may be missing
	if !l.at('=') {
		return param{}, false
	}
	l.b = l.b[1:]
	if !l.skip() {
		return param{name, ""}, false
	}
	switch {
	case l.at('"'):
		value, ok := l.quoted()
		return param{name, value}, ok
	case l.at('='):
		value, _ := l.run(func(c byte) bool { return c != ';' && c != ' ' && c != '\t' && c != '\r' && c != '\n' })
		return param{name, value}, true
	}
	value, ok := l.run(isValue)
	return param{name, value}, ok
}

// isValue is what a value without quotes is made of: a token, or what people take for one.
func isValue(c byte) bool { return isToken(c) || c >= 0x80 }

// continuation is a parameter "name*n=" or "name*n*=", a piece of a longer one (RFC 2231, 3).
type continuation struct {
	name     string
	index    int
	extended bool
	param    param
}

func continuationOf(p param) (continuation, bool) {
	name, rest, found := strings.Cut(p.name, "*")
	if !found {
		return continuation{}, false
	}
	c := continuation{name: name, param: p}
	if rest == "" {
		c.extended = true
		return c, true
	}
	digits, isExtended := strings.CutSuffix(rest, "*")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || digits[0] == '+' {
		return continuation{}, false
	}
	c.index, c.extended = n, isExtended
	return c, true
}

func joinContinuations(pieces []continuation) []param {
	slices.SortStableFunc(pieces, func(a, b continuation) int {
		return cmp.Or(strings.Compare(a.name, b.name), cmp.Compare(a.index, b.index))
	})
	var list []param
	for len(pieces) > 0 {
		n := 1
		for n < len(pieces) && pieces[n].name == pieces[0].name {
			n++
		}
		list = append(list, joinPieces(pieces[:n])...)
		pieces = pieces[n:]
	}
	return list
}

// joinPieces makes one parameter of the pieces of a name; when one is missing they stay apart.
func joinPieces(pieces []continuation) []param {
	extended := false
	for i, c := range pieces {
		if c.index != i {
			apart := make([]param, 0, len(pieces))
			for _, c := range pieces {
				apart = append(apart, c.param)
			}
			return apart
		}
		extended = extended || c.extended
	}
	var value strings.Builder
	for _, c := range pieces {
		if extended && !c.extended {
			value.WriteString(percentEncode(c.param.value))
		} else {
			value.WriteString(c.param.value)
		}
	}
	name := pieces[0].name
	if extended {
		name += "*"
	}
	return []param{{name, value.String()}}
}

// percentEncode makes a plain piece fit among percent-encoded ones.
func percentEncode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`*%'()<>@,;:\"/[]?=`, c) >= 0 {
			b.WriteString("%" + strings.ToUpper(strconv.FormatInt(int64(c)+0x100, 16)[1:]))
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// get finds a parameter by name, in any case of letters.
func get(list []param, name string) (string, bool) {
	for _, p := range list {
		if strings.EqualFold(p.name, name) {
			return p.value, true
		}
	}
	return "", false
}
