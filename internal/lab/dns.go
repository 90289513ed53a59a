package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// DNSRecords are a zone by name, without the last dot: "example.test": {"TXT v=spf1 ip4:192.0.2.0/24 -all",
// "A 192.0.2.1", "AAAA 2001:db8::1", "MX 10 mx.example.test", "PTR mx.example.test"}.
// Names that are not there do not exist (NXDOMAIN).
type DNSRecords map[string][]string

// dnsTTL of every answer, in seconds.
const dnsTTL = 60

// maxDNSQuery bounds a UDP question (RFC 6891's usual size).
const maxDNSQuery = 4096

// dnsServer answers from a fixed zone over UDP, so that SPF, DKIM and DMARC checks have the same result
// everywhere and never wait for a resolver that is not there.
type dnsServer struct {
	conn    net.PacketConn
	zone    map[string][]dnsmessage.ResourceBody
	serving sync.WaitGroup
}

// listenDNS serves records on a port of loopback until Close.
func listenDNS(records DNSRecords) (*dnsServer, error) {
	zone := map[string][]dnsmessage.ResourceBody{}
	for name, lines := range records {
		for _, line := range lines {
			body, err := parseRecord(line)
			if err != nil {
				return nil, fmt.Errorf("dns record of %s: %w", name, err)
			}
			key := strings.ToLower(name) + "."
			zone[key] = append(zone[key], body)
		}
	}
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("dns: %w", err)
	}
	s := &dnsServer{conn: conn, zone: zone}
	s.serving.Go(s.serve)
	return s, nil
}

// addr is host:port.
func (s *dnsServer) addr() string { return s.conn.LocalAddr().String() }

// Close ends the server. It may be called twice.
func (s *dnsServer) Close() error {
	err := s.conn.Close()
	s.serving.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (s *dnsServer) serve() {
	buf := make([]byte, maxDNSQuery)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of a client that is gone
		}
		if reply := s.reply(buf[:n]); reply != nil {
			_, _ = s.conn.WriteTo(reply, from) // a lost answer is asked for again
		}
	}
}

// reply answers one packet; nil when it is no question.
func (s *dnsServer) reply(packet []byte) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(packet)
	if err != nil || h.Response {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	m := dnsmessage.Message{
		Header: dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true, RecursionDesired: h.RecursionDesired,
			RecursionAvailable: true, RCode: dnsmessage.RCodeSuccess},
		Questions: []dnsmessage.Question{q},
	}
	bodies, ok := s.zone[strings.ToLower(q.Name.String())]
	if !ok {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, body := range bodies {
		if typeOf(body) == q.Type {
			header := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: dnsTTL}
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: body})
		}
	}
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}

// typeOf is the record type of a body that parseRecord made.
func typeOf(body dnsmessage.ResourceBody) dnsmessage.Type {
	switch body.(type) {
	case *dnsmessage.TXTResource:
		return dnsmessage.TypeTXT
	case *dnsmessage.AResource:
		return dnsmessage.TypeA
	case *dnsmessage.AAAAResource:
		return dnsmessage.TypeAAAA
	case *dnsmessage.MXResource:
		return dnsmessage.TypeMX
	default:
		return dnsmessage.TypePTR
	}
}

// parseRecord reads "TYPE value".
func parseRecord(line string) (dnsmessage.ResourceBody, error) {
	kind, value, _ := strings.Cut(line, " ")
	switch kind {
	case "TXT":
		return &dnsmessage.TXTResource{TXT: txtStrings(value)}, nil
	case "A", "AAAA":
		return parseAddress(kind, value)
	case "MX":
		pref, host, _ := strings.Cut(value, " ")
		n, err := strconv.ParseUint(pref, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		name, err := dnsmessage.NewName(host + ".")
		return &dnsmessage.MXResource{Pref: uint16(n), MX: name}, err
	case "PTR":
		name, err := dnsmessage.NewName(value + ".")
		return &dnsmessage.PTRResource{PTR: name}, err
	default:
		return nil, fmt.Errorf("%q: unknown type", line)
	}
}

func parseAddress(kind, value string) (dnsmessage.ResourceBody, error) {
	ip, err := netip.ParseAddr(value)
	switch {
	case err != nil:
		return nil, err
	case kind == "A" && ip.Is4():
		return &dnsmessage.AResource{A: ip.As4()}, nil
	case kind == "AAAA" && ip.Is6():
		return &dnsmessage.AAAAResource{AAAA: ip.As16()}, nil
	default:
		return nil, fmt.Errorf("%s does not fit type %s", value, kind)
	}
}

// txtStrings cuts a text into the strings of at most 255 bytes that a TXT record consists of (RFC 1035
// section 3.3.14).
func txtStrings(text string) []string {
	var out []string
	for len(text) > 255 {
		out, text = append(out, text[:255]), text[255:]
	}
	return append(out, text)
}
