package mail

import (
	"bytes"
	"slices"
)

// maxHost is the longest name of a host (RFC 1035, 2.3.4).
const maxHost = 253

// linkHosts adds to found the hosts of the web links in text, in lower case, each once, until there are limit. The text is as it
// is before its charset is decoded: a link is ASCII in all of them but UTF-16.
func linkHosts(found []string, text []byte, limit int) []string {
	for len(found) < limit {
		i := indexHTTP(text)
		if i < 0 {
			return found
		}
		text = text[i+len("http"):]
		if len(text) > 0 && (text[0] == 's' || text[0] == 'S') {
			text = text[1:]
		}
		rest, ok := bytes.CutPrefix(text, []byte("://"))
		if !ok {
			continue
		}
		if host := hostOf(rest); host != "" && !slices.Contains(found, host) {
			found = append(found, host)
		}
	}
	return found
}

// wholeLinks leaves out a link at the end of text whose host may go on behind it.
func wholeLinks(text []byte) []byte {
	const scheme = "https://"
	for from := max(0, len(text)-2*maxHost-len(scheme)); from < len(text); from++ {
		i := indexHTTP(text[from:])
		if i < 0 {
			break
		}
		from += i
		rest := text[from:]
		if !bytes.ContainsAny(rest[min(len(rest), len(scheme)):], hostEnds) {
			return text[:from]
		}
	}
	return text
}

// hostEnds are the characters that end a host, with what belongs to it.
const hostEnds = "/?#\\\"'<> \t\r\n"

// indexHTTP finds "http" in any case, -1 for none.
func indexHTTP(text []byte) int {
	for from := 0; ; {
		i := bytes.IndexAny(text[from:], "hH")
		if i < 0 || from+i+4 > len(text) {
			return -1
		}
		if bytes.EqualFold(text[from+i:from+i+4], []byte("http")) {
			return from + i
		}
		from += i + 1
	}
}

// hostOf reads the host at the beginning of what follows "//", without user and port.
func hostOf(text []byte) string {
	text = text[:min(len(text), 2*maxHost)]
	if end := bytes.IndexAny(text, hostEnds); end >= 0 {
		text = text[:end]
	}
	if at := bytes.LastIndexByte(text, '@'); at >= 0 {
		text = text[at+1:]
	}
	if colon := bytes.IndexByte(text, ':'); colon >= 0 {
		text = text[:colon]
	}
	host := bytes.ToLower(bytes.TrimRight(text, ".,;)]}"))
	if len(host) == 0 || len(host) > maxHost || bytes.IndexByte(host, '.') < 0 {
		return ""
	}
	return Clean(string(host), maxHost)
}
