package imap

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/encoding/htmlindex"

	"github.com/mairust/mairust/internal/mail"
)

// searchReturn is what SEARCH is to tell (RFC 4731, RFC 5182).
type searchReturn struct {
	extended                   bool
	min, max, all, count, save bool
}

// search answers SEARCH and UID SEARCH.
func (c *conn) search(ctx context.Context, cmd *command) error {
	p := cmd.args
	s := &searcher{parser: p, c: c, now: time.Now(), decode: func(s string) string { return decodeCharset("", s) }}
	p.sp()
	result, err := s.prefix()
	if err != nil {
		return err
	}
	k := s.keys()
	p.end()
	if p.err != nil {
		if result.save {
			c.saved = nil // RFC 5182, 2.1
		}
		return p.err
	}
	found, err := c.findInTime(ctx, s, k)
	if err != nil {
		if result.save {
			c.saved = nil // as above
		}
		return err
	}
	c.writeFound(cmd, s, result, found)
	c.afterCommand(ctx, cmd.uid)
	return nil
}

// findInTime finds messages as long as the client is there, and no longer than a search may take.
func (c *conn) findInTime(ctx context.Context, s *searcher, k key) ([]int, error) {
	attended, end := c.attended(ctx, c.server.deps.Timeouts.Search)
	found, err := c.findMessages(attended, s, k)
	why := end()
	switch {
	case err == nil:
		return found, nil
	case errors.Is(why, errLeft):
		c.broken = errLeft
		return nil, errLeft
	case errors.Is(why, errTooSlow):
		return nil, no("LIMIT", "This search takes too long, please search fewer messages at once") // RFC 5530, 3
	}
	return nil, err
}

// prefix reads RETURN (…) and CHARSET.
func (s *searcher) prefix() (r searchReturn, err error) {
	if rest, found := cutWord(s.b, "RETURN"); found {
		s.b, r.extended = rest, true
		s.list(func() { r.option(s.parser) })
		s.sp()
		r.all = r.all || !r.min && !r.max && !r.count && !r.save
	}
	if rest, found := cutWord(s.b, "CHARSET"); found {
		s.b = rest
		charset := s.astring()
		s.sp()
		if s.err == nil && !knownCharset(charset) {
			return r, no("BADCHARSET (UTF-8 US-ASCII ISO-2022-JP)", "This charset is not known")
		}
		s.decode = func(text string) string { return decodeCharset(charset, text) }
	}
	return r, s.err
}

// cutWord takes a word and the space after it, in any case of letters.
func cutWord(s, word string) (rest string, found bool) {
	if len(s) <= len(word) || !strings.EqualFold(s[:len(word)], word) || s[len(word)] != ' ' {
		return s, false
	}
	return strings.TrimLeft(s[len(word):], " "), true
}

func (r *searchReturn) option(p *parser) {
	switch p.keyword() {
	case "MIN":
		r.min = true
	case "MAX":
		r.max = true
	case "ALL":
		r.all = true
	case "COUNT":
		r.count = true
	case "SAVE":
		r.save = true
	default:
		p.fail("a result option")
	}
}

func knownCharset(name string) bool {
	_, err := htmlindex.Get(name)
	return err == nil
}

func decodeCharset(charset, text string) string {
	decoded, _ := mail.DecodeText(charset, []byte(text))
	return decoded
}

// writeFound tells which messages were found, as the client wants it.
func (c *conn) writeFound(cmd *command, s *searcher, r searchReturn, found []int) {
	numbers := make([]uint32, 0, len(found))
	var modSeq int64
	for _, i := range found {
		modSeq = max(modSeq, c.view.modSeq(c.view.uids[i]))
		if cmd.uid {
			numbers = append(numbers, c.view.uids[i])
		} else {
			numbers = append(numbers, uint32(i+1))
		}
	}
	if r.save {
		c.save(r, found)
	}
	if !r.extended {
		c.out.text("* SEARCH")
		for _, n := range numbers {
			c.out.text(" ")
			c.out.number(int64(n))
		}
		if s.modSeq && len(found) > 0 {
			c.out.text(" (MODSEQ ")
			c.out.number(modSeq)
			c.out.text(")")
		}
		c.out.line("")
		return
	}
	if r.save && !r.min && !r.max && !r.all && !r.count {
		return
	}
	c.out.text("* ESEARCH (TAG ", string(appendString(nil, cmd.tag)), ")")
	if cmd.uid {
		c.out.text(" UID")
	}
	c.writeExtended(r, numbers)
	if s.modSeq && len(found) > 0 {
		c.out.text(" MODSEQ ")
		c.out.number(modSeq)
	}
	c.out.line("")
}

func (c *conn) writeExtended(r searchReturn, numbers []uint32) {
	if n := len(numbers); n > 0 {
		if r.min {
			c.out.text(" MIN ")
			c.out.number(int64(numbers[0]))
		}
		if r.max {
			c.out.text(" MAX ")
			c.out.number(int64(numbers[n-1]))
		}
		if r.all {
			c.out.text(" ALL ", formatNumbers(numbers))
		}
	}
	if r.count {
		c.out.text(" COUNT ")
		c.out.number(int64(len(numbers)))
	}
}

// save remembers the result for "$": all of it, or what MIN and MAX gave when only these were asked (RFC 5182, 2.4).
func (c *conn) save(r searchReturn, found []int) {
	if n := len(found); n > 0 && (r.min || r.max) && !r.all && !r.count {
		var ends []int
		if r.min {
			ends = append(ends, found[0])
		}
		if r.max {
			ends = append(ends, found[n-1])
		}
		found = slices.Compact(ends)
	}
	c.saved = make([]uint32, 0, len(found))
	for _, i := range found {
		c.saved = append(c.saved, c.view.uids[i])
	}
}

func containsUID(uids []uint32, uid uint32) bool {
	_, found := slices.BinarySearch(uids, uid)
	return found
}
