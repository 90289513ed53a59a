package rule

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mairust/mairust/internal/mail"
)

// What is looked at of one message, whatever its size.
const (
	maxValue     = 8 << 10  // of one decoded header value
	maxHeader    = 1 << 20  // of all decoded values of one name
	maxBody      = 64 << 10 // of the body
	maxSkippable = 4 << 20  // of header before the body
)

// facts gives what conditions ask about one message, each found out once.
type facts struct {
	msg     *mail.Message
	headers map[string][]string
	parts   []mail.Part
	hasBody bool
	start   []byte
}

// header gives the decoded values of the fields of that name (lower case).
func (f *facts) header(name string) []string {
	if values, ok := f.headers[name]; ok {
		return values
	}
	var values []string
	total := 0
	for _, field := range f.msg.Header {
		if total < maxHeader && strings.EqualFold(strings.TrimRight(field.Name, " \t"), name) {
			v := mail.DecodeHeader(field.Value, maxValue)
			values, total = append(values, v), total+len(v)
		}
	}
	if f.headers == nil {
		f.headers = map[string][]string{}
	}
	f.headers[name] = values
	return values
}

// attachments gives those of attached messages too, and none for a message without summary.
func (f *facts) attachments() []mail.Part {
	if f.parts == nil && f.msg.Summary != nil {
		f.parts = f.msg.Summary.AllAttachments()
	}
	return f.parts
}

// body gives the beginning of the raw body.
func (f *facts) body() (start []byte, err error) {
	if f.hasBody {
		return f.start, nil
	}
	r, err := f.msg.Open()
	if err != nil {
		return nil, fmt.Errorf("open message: %w", err)
	}
	defer func() {
		if cerr := r.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("close message: %w", cerr)
		}
	}()
	if f.start, err = readBody(r); err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	f.hasBody = true
	return f.start, nil
}

// readBody skips the header up to its blank line and gives at most maxBody bytes of what follows.
func readBody(r io.Reader) ([]byte, error) {
	in := bufio.NewReader(io.LimitReader(r, maxSkippable+maxBody))
	begins := true // a line
	for {
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return nil, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case begins && len(bytes.TrimRight(line, "\r\n")) == 0:
			return io.ReadAll(io.LimitReader(in, maxBody))
		}
		begins = err == nil
	}
}
