package milter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/mairust/mairust/internal/mail"
)

// The milter protocol, version 6, as Postfix (src/milter/milter8.c) and libmilter (libmilter/mfdef.h) speak it. A packet is
// four bytes of length, big endian, which counts what follows: one byte of code, and data.

// code is what a packet is about.
type code byte

// What the MTA says.
const (
	cmdNegotiate   code = 'O'
	cmdMacros      code = 'D'
	cmdConnect     code = 'C'
	cmdHelo        code = 'H'
	cmdMail        code = 'M'
	cmdRcpt        code = 'R'
	cmdField       code = 'L'
	cmdEndOfHeader code = 'N'
	cmdBody        code = 'B'
	cmdEnd         code = 'E' // of the message; the last piece of the body may ride on it
	cmdAbort       code = 'A'
	cmdQuit        code = 'Q'
)

// What we say.
const (
	sayContinue code = 'c'
	sayReply    code = 'y'
	addField    code = 'h'
	insertField code = 'i'
	changeField code = 'm'
	holdMessage code = 'q'
)

// options are bits of the handshake (SMFIP_*).
type options uint32

const (
	noFieldReply  options = 1 << 7
	noUnknown     options = 1 << 8 // commands that are not told at all
	noData        options = 1 << 9
	refusedRcpt   options = 1 << 11 // recipients that the MTA refused are told, too
	noConnReply   options = 1 << 12
	noHeloReply   options = 1 << 13
	noMailReply   options = 1 << 14
	noRcptReply   options = 1 << 15
	noEOHReply    options = 1 << 18
	noBodyReply   options = 1 << 19
	leadingSpaces options = 1 << 20 // fields are told with the space behind the colon
)

// actions are bits of the handshake (SMFIF_*).
type actions uint32

const (
	mayAdd        actions = 1 << 0
	mayChange     actions = 1 << 4
	mayQuarantine actions = 1 << 5
)

// maxPacketBytes bounds a packet with its command byte. Postfix sends bodies in pieces of 64 KiB, but a header field whole,
// up to its header_size_limit (100 kB unless raised).
const maxPacketBytes = 1 << 20

// errMalformed is wrapped by every error about bytes that are not the milter protocol.
var errMalformed = errors.New("malformed milter packet")

// checkPacket tells whether the data of a command can be read without loss.
func checkPacket(c code, data []byte) error {
	ok := false
	switch c {
	case cmdNegotiate:
		ok = len(data) == 12
	case cmdConnect:
		ok = validConnect(data)
	case cmdMacros:
		ok = validMacros(data)
	case cmdHelo:
		ok = cStrings(data) == 1
	case cmdMail, cmdRcpt:
		ok = cStrings(data) >= 1
	case cmdField:
		ok = cStrings(data) == 2 && data[0] != 0
	case cmdBody, cmdEnd:
		ok = true
	case cmdEndOfHeader, cmdAbort, cmdQuit:
		ok = len(data) == 0
	}
	if !ok {
		return fmt.Errorf("%w: command %q with %d bytes", errMalformed, byte(c), len(data))
	}
	return nil
}

// The families of a client's address.
const (
	familyUnknown = 'U'
	familyUnix    = 'L'
	familyInet    = '4'
	familyInet6   = '6'
)

// validConnect: host NUL family, and for all but the unknown family two bytes of port, address NUL.
func validConnect(data []byte) bool {
	_, rest, found := bytes.Cut(data, []byte{0})
	if !found || len(rest) == 0 {
		return false
	}
	family, rest := rest[0], rest[1:]
	switch family {
	case familyUnknown:
		return true
	case familyUnix:
		return cStrings(rest) >= 1 // with or without the port, which nobody uses
	case familyInet, familyInet6:
		return len(rest) > 2 && cStrings(rest[2:]) == 1
	}
	return false
}

// sendmailIPv6 is what Sendmail writes before an address of IPv6, as SMTP does (RFC 5321, 4.1.3); Postfix does not.
const sendmailIPv6 = "IPv6:"

// readConnect reads what validConnect has let through; an address that is none is the zero one.
func readConnect(data []byte) (host string, addr netip.Addr) {
	host, data = cutString(data)
	if family := data[0]; family == familyInet || family == familyInet6 {
		text, _ := cutString(data[3:])
		if n := len(sendmailIPv6); len(text) > n && strings.EqualFold(text[:n], sendmailIPv6) {
			text = text[n:]
		}
		addr, _ = netip.ParseAddr(text)
	}
	return host, addr.Unmap().WithZone("")
}

// validMacros: the stage, then pairs of name and value.
func validMacros(data []byte) bool {
	if len(data) == 0 {
		return false
	}
	n := cStrings(data[1:])
	return len(data) == 1 || n > 0 && n%2 == 0 && data[1] != 0
}

// macros are those that came with the last command: pairs of name and value, each with a NUL behind it.
type macros []byte

// get gives the value of a macro, empty when it did not come.
func (m macros) get(name string) string {
	value, _ := m.lookup(name)
	return value
}

// lookup also says whether the macro is there, though it may be empty.
func (m macros) lookup(name string) (value string, ok bool) {
	for len(m) > 0 {
		var is, has []byte
		is, m, _ = bytes.Cut(m, []byte{0})
		has, m, _ = bytes.Cut(m, []byte{0})
		if string(is) == name {
			return string(has), true
		}
	}
	return "", false
}

// clean gives a macro for logs and rows; Postfix puts long names in braces.
func (m macros) clean(name string) string {
	if len(name) > 1 {
		name = "{" + name + "}"
	}
	return mail.Clean(m.get(name), 1024)
}

// maxEnvID is how long an ENVID may be (RFC 3461, section 5.4).
const maxEnvID = 100

// envID finds the ENVID among the parameters of MAIL, which follow the address, each ended by a NUL; empty for none.
func envID(data []byte) string {
	for _, parameter := range bytes.Split(data, []byte{0})[1:] {
		name, value, ok := bytes.Cut(parameter, []byte{'='})
		if ok && bytes.EqualFold(name, []byte("ENVID")) && len(value) <= maxEnvID {
			return mail.Clean(string(value), maxEnvID)
		}
	}
	return ""
}

// cutString gives the string before the first NUL, and what is behind it.
func cutString(data []byte) (string, []byte) {
	s, rest, _ := bytes.Cut(data, []byte{0})
	return string(s), rest
}

// cStrings counts the NUL-terminated strings that data is made of; 0 if it does not end in NUL.
func cStrings(data []byte) int {
	if len(data) == 0 || data[len(data)-1] != 0 {
		return 0
	}
	return bytes.Count(data, []byte{0})
}

// appendPacket appends a packet of these parts.
func appendPacket(b []byte, c code, parts ...string) []byte {
	n := 1
	for _, p := range parts {
		n += len(p)
	}
	b = append(binary.BigEndian.AppendUint32(b, uint32(n)), byte(c))
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}
