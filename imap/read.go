package imap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds of what a client can send. RFC 7162 and long lists of UIDs make long commands; before the login none is
// needed.
const (
	maxCommandBytes  = 256 << 10
	maxUnknownBytes  = 8 << 10
	maxDiscardBytes  = 256 << 20
	maxLiteralsCount = 1000
)

var errTooLong = errors.New("command too long")

// readCommand reads a command with its literals, without its final line end. Literals of synchronising clients are
// asked for. The message of an APPEND is read and dropped: "{0}\r\n" stands in its place.
func (c *conn) readCommand() (string, error) {
	if err := c.wait(); err != nil {
		return "", err
	}
	if _, err := c.br.Peek(1); err != nil {
		return "", c.whyEnded(err)
	}
	if err := c.begun(); err != nil {
		return "", err
	}
	limit := maxUnknownBytes
	if c.state != notAuthenticated {
		limit = maxCommandBytes
	}
	var command []byte
	for range maxLiteralsCount {
		var err error
		if command, err = c.readLine(command, limit); err != nil {
			return "", err
		}
		n, sync, prefix, ok := literalAt(command)
		if !ok {
			return string(command), nil
		}
		if command, err = c.readLiteral(command, prefix, n, sync, limit); err != nil {
			return "", err
		}
	}
	return "", errTooLong
}

// readLine appends a line to command, without its end.
func (c *conn) readLine(command []byte, limit int) ([]byte, error) {
	for {
		piece, err := c.br.ReadSlice('\n')
		if len(command)+len(piece) > limit {
			return nil, errTooLong
		}
		command = append(command, piece...)
		if errors.Is(err, io.EOF) && len(piece) > 0 {
			return nil, io.ErrUnexpectedEOF
		}
		if err == nil {
			command = command[:len(command)-1]
			return bytes.TrimSuffix(command, []byte("\r")), nil
		}
		if !errors.Is(err, errBufferFull) {
			return nil, err
		}
	}
}

// literalAt says whether a line announces a literal: "{n}" or, without waiting, "{n+}" (RFC 7888). prefix is what
// stands before it.
func literalAt(line []byte) (n int64, sync bool, prefix int, ok bool) {
	if !bytes.HasSuffix(line, []byte("}")) {
		return 0, false, 0, false
	}
	open := bytes.LastIndexByte(line, '{')
	if open < 0 {
		return 0, false, 0, false
	}
	digits := string(line[open+1 : len(line)-1])
	number, waits := strings.CutSuffix(digits, "+")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || number[0] == '+' {
		return 0, false, 0, false
	}
	return n, !waits, open, true
}

func (c *conn) readLiteral(command []byte, prefix int, n int64, sync bool, limit int) ([]byte, error) {
	drop := c.state != notAuthenticated && isAppendMessage(string(command[:prefix]))
	if drop && n > maxDiscardBytes || !drop && n > int64(limit-len(command)) {
		return nil, errTooLong
	}
	if sync {
		c.out.line("+ OK")
		if err := c.out.flush(); err != nil {
			return nil, err
		}
	}
	if drop {
		for n > 0 {
			if err := c.begun(); err != nil { // a slow line is no reason to give up
				return nil, err
			}
			piece := min(n, 256<<10)
			if _, err := io.CopyN(io.Discard, c.br, piece); err != nil {
				return nil, fmt.Errorf("read a message: %w", err)
			}
			n -= piece
		}
		return append(command[:prefix], "{0}\r\n"...), nil
	}
	command = append(command, "\r\n"...)
	start := len(command)
	command = append(command, make([]byte, n)...)
	if _, err := io.ReadFull(c.br, command[start:]); err != nil {
		return nil, fmt.Errorf("read a literal: %w", err)
	}
	return command, nil
}

// isAppendMessage says whether the literal after this part of a command is a message, not the name of a mailbox.
func isAppendMessage(before string) bool {
	_, rest, _ := strings.Cut(before, " ")
	verb, rest, found := strings.Cut(rest, " ")
	return found && strings.EqualFold(verb, "APPEND") && strings.Trim(rest, " ~") != ""
}
