package lookup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxRequestBytes bounds one request. An address has at most 320 octets (RFC 5321, 4.5.3.1) and a map name a
// few; Postfix itself bounds replies at 100,000, which is more than anybody needs to ask.
const maxRequestBytes = 4096

// errNetstring is wrapped by every error that says that the peer does not speak netstrings. There is no way
// to find the next request after it, so the connection ends.
var errNetstring = errors.New("malformed netstring")

// readNetstring reads one netstring ("5:hello,"): a length in decimal without leading zeros, a colon, that many
// bytes, a comma. io.EOF says that the peer closed between two netstrings; within one it is io.ErrUnexpectedEOF.
func readNetstring(r *bufio.Reader, limit int) ([]byte, error) {
	n, err := readLength(r, limit)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n+1)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, unexpected(err)
	}
	if b[n] != ',' {
		return nil, fmt.Errorf("%w: no comma after %d bytes", errNetstring, n)
	}
	return b[:n], nil
}

// readLength reads the length and the colon.
func readLength(r *bufio.Reader, limit int) (int, error) {
	n, digits := 0, 0
	for {
		c, err := r.ReadByte()
		switch {
		case err != nil && digits == 0:
			return 0, err
		case err != nil:
			return 0, unexpected(err)
		case c == ':' && digits > 0:
			return n, nil
		case c < '0' || c > '9':
			return 0, fmt.Errorf("%w: %q in its length", errNetstring, c)
		case digits == 1 && n == 0:
			return 0, fmt.Errorf("%w: leading zero", errNetstring)
		}
		n, digits = n*10+int(c-'0'), digits+1
		if n > limit {
			return 0, fmt.Errorf("%w: longer than %d bytes", errNetstring, limit)
		}
	}
}

// appendNetstring appends s as a netstring.
func appendNetstring(b []byte, s string) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	b = append(b, s...)
	return append(b, ',')
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
