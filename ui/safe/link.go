package safe

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
	"golang.org/x/text/unicode/norm"
)

// hostClass marks the span that shows where a deceptive link leads. A mail cannot write one.
const hostClass = "mairust-host"

// target is where a link leads.
type target struct {
	href string // normal form
	host string // lower-case A-labels; "" for tel:
	mail bool
}

// link is an a element that is open.
type link struct {
	target target
	text   strings.Builder
}

// Bounds on what is compared: bytes of a link's text, and of a host in any script.
const (
	maxLinkText = 1024
	maxHost     = 1024
)

func (l *link) addText(t string) {
	if room := maxLinkText - l.text.Len(); room > 0 {
		l.text.WriteString(cut(t, room))
	}
}

// openLink writes the attributes that make an a element a link. An element without a place to lead to stays if it is itself a place.
func (s *scrubber) openLink(attrs attributes) (string, bool) {
	if s.link != nil || s.nest.has("a") {
		return "", false
	}
	href := strings.TrimSpace(attrs.get("href"))
	var b strings.Builder
	if fragment, ok := strings.CutPrefix(href, "#"); ok {
		id, ok := identifier(fragment)
		if !ok {
			return "", false
		}
		writeAttribute(&b, "href", "#"+id)
		return b.String(), true
	}
	t, ok := parseTarget(href)
	if !ok {
		return "", attrs.get("id") != "" || attrs.get("name") != ""
	}
	s.link = &link{target: t}
	s.report.Links++
	writeAttribute(&b, "href", t.href)
	writeAttribute(&b, "rel", "noopener noreferrer nofollow")
	writeAttribute(&b, "target", "_blank")
	writeAttribute(&b, "title", t.title())
	return b.String(), true
}

// title is the address in words: what a browser will open, and the host in its own script if it is written in A-labels.
func (t target) title() string {
	title := cut(t.href, maxValue)
	if native := nativeHost(t.host); native != t.host {
		title = native + " = " + title
	}
	return title
}

// mark shows the host beside a link whose text names another, as phishing does; else it is "".
func (l *link) mark() string {
	shown := l.target.host
	other := func(named string) bool { return !sameSite(named, shown) }
	if shown == "" || !slices.ContainsFunc(namedHosts(l.text.String()), other) {
		return ""
	}
	if native := nativeHost(shown); native != shown {
		shown = native + " = " + shown
	}
	return `<span class="` + hostClass + `"><bdi>` + html.EscapeString(shown) + `</bdi></span>`
}

// parseTarget reads an address as a browser does (URL 4.4), and refuses what it would read in another way, so that
// the host we show is the host that is opened.
func parseTarget(raw string) (target, bool) {
	raw = strings.TrimFunc(raw, func(r rune) bool { return r <= ' ' })
	raw = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(raw)
	if raw == "" || len(raw) > maxLink {
		return target{}, false
	}
	scheme, rest, ok := strings.Cut(raw, ":")
	if !ok {
		return target{}, false
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case "http", "https":
		return webTarget(scheme, rest)
	case "mailto":
		return mailTarget(rest)
	case "tel":
		return phoneTarget(rest)
	}
	return target{}, false
}

// webTarget drops user and password, which browsers send and people take for the host.
func webTarget(scheme, rest string) (target, bool) {
	before, after := rest, ""
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		before, after = rest[:i], rest[i:]
	}
	before = strings.ReplaceAll(before, `\`, "/")
	u, err := url.Parse(scheme + "://" + strings.TrimLeft(before, "/") + escapeLoose(after))
	if err != nil {
		u, err = url.Parse(scheme + "://" + escapeLoose(strings.TrimLeft(before, "/")+after))
	}
	if err != nil || u.Hostname() == "" {
		return target{}, false
	}
	host, ok := asciiHost(u.Hostname())
	if !ok {
		return target{}, false
	}
	port := u.Port()
	u.User, u.Host = nil, host
	if port != "" {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return target{}, false
		}
		u.Host += ":" + port
	}
	return stable(u, host)
}

func mailTarget(rest string) (target, bool) {
	u, err := url.Parse("mailto:" + escapeLoose(rest))
	if err != nil || u.Opaque == "" {
		return target{}, false
	}
	host := ""
	if first, _, _ := strings.Cut(u.Opaque, ","); strings.Contains(first, "@") {
		host, _ = asciiHost(first[strings.LastIndex(first, "@")+1:])
	}
	t, ok := stable(u, host)
	t.mail = true
	return t, ok
}

var phone = regexp.MustCompile(`^\+?[0-9*#(). -]{1,40}$`)

func phoneTarget(rest string) (target, bool) {
	if unescaped, err := url.PathUnescape(rest); err == nil {
		rest = unescaped
	}
	if !phone.MatchString(rest) {
		return target{}, false
	}
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune("+0123456789*", r) {
			return r
		}
		return -1
	}, rest)
	return target{href: "tel:" + digits}, digits != ""
}

// stable is u written out, if it is read as the same once more: by us, and so by bluemonday.
func stable(u *url.URL, host string) (target, bool) {
	href := u.String()
	again, err := url.Parse(href)
	if err != nil || again.String() != href || len(href) > maxLink {
		return target{}, false
	}
	return target{href: href, host: host}, true
}

// escapeLoose percent-encodes what Go's parser refuses and browsers repair: spaces, quotes, controls, a % that begins no escape.
func escapeLoose(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '%' && !isEscape(s[i:]):
			b.WriteString("%25")
		case c <= ' ' || c == 0x7F || strings.IndexByte("\"<>\\^`{|}", c) >= 0:
			b.WriteString("%" + string("0123456789ABCDEF"[c>>4]) + string("0123456789ABCDEF"[c&15]))
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func isEscape(s string) bool {
	return len(s) > 2 && isHex(s[1]) && isHex(s[2])
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

var hostName = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_.])?$`)

// asciiHost is a host in lower-case A-labels as a browser makes it (UTS 46), or an IPv6 address in brackets.
func asciiHost(host string) (string, bool) {
	if len(host) > maxHost {
		return "", false
	}
	if ip := net.ParseIP(host); ip != nil && strings.Contains(host, ":") {
		return "[" + ip.String() + "]", true
	}
	ascii := strings.ToLower(host)
	if !isASCII(host) || strings.Contains(ascii, "xn--") {
		var err error
		if ascii, err = idna.Lookup.ToASCII(host); err != nil {
			return "", false
		}
	}
	return ascii, hostName.MatchString(ascii)
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// nativeHost is host in its own script, or host itself.
func nativeHost(host string) string {
	if !strings.Contains(host, "xn--") {
		return host
	}
	native, err := idna.Display.ToUnicode(host)
	if err != nil {
		return host
	}
	return cleanText(native)
}

// What reads as an address or a host in the text of a link.
var (
	namedURL   = regexp.MustCompile(`(?i)(?:[a-z][a-z0-9+.-]{1,15}:[/\\]{2,}|\bwww\.)[^\s<>"'「」]+`)
	namedASCII = regexp.MustCompile(`(?i)([a-z0-9_-]+(?:\.[a-z0-9_-]+)+)(@?)(?:[:/?#]\S*)?`)
	namedBare  = regexp.MustCompile(`^[^\s<>"'/\\]+\.[\p{L}\p{N}-]+\.?(?::[0-9]+)?(?:[/?#]\S*)?$`)
)

// namedHosts are the hosts that the text of a link names. All of them count: the first may be there only for us, and hidden.
func namedHosts(text string) []string {
	text = norm.NFKC.String(strings.Map(visible, text))
	text = strings.TrimFunc(strings.ReplaceAll(text, "。", "."), func(r rune) bool {
		return r <= ' ' || strings.ContainsRune("\u3000<>()[]{}\"'「」『』【】→⇒▶»>…,.:;!?", r)
	})
	var hosts []string
	for _, found := range namedURL.FindAllString(text, -1) {
		if host, ok := asciiHost(strings.Trim(hostPart(found), ".")); ok {
			hosts = append(hosts, host)
		}
	}
	text = namedURL.ReplaceAllString(text, " ")
	for _, found := range namedASCII.FindAllStringSubmatch(text, -1) {
		if host := realHost(found[1]); host != "" && found[2] == "" {
			hosts = append(hosts, host)
		}
	}
	if namedBare.MatchString(text) {
		if host := realHost(hostPart(text)); host != "" {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// hostPart cuts scheme, user, port and path off an address as people write it.
func hostPart(found string) string {
	found = strings.ReplaceAll(found, `\`, "/")
	if i := strings.Index(found, ":/"); i >= 0 {
		found = found[i+2:]
	}
	found = strings.TrimLeft(found, "/")
	if i := strings.IndexAny(found, "/?#"); i >= 0 {
		found = found[:i]
	}
	found = found[strings.LastIndex(found, "@")+1:]
	if i := strings.LastIndex(found, ":"); i >= 0 {
		found = found[:i]
	}
	return found
}

// visible leaves out characters that have no shape.
func visible(r rune) rune {
	if r == 0xAD || r >= 0x200B && r <= 0x200F || r >= 0x2060 && r <= 0x2064 || r == 0x180E {
		return -1
	}
	return r
}

// realHost is host in A-labels if it ends in a top-level domain that exists or is an IPv4 address, else "": "report.pdf" is no host.
func realHost(host string) string {
	host, ok := asciiHost(strings.Trim(host, "."))
	if !ok {
		return ""
	}
	if net.ParseIP(host) != nil {
		return host
	}
	suffix, icann := publicsuffix.PublicSuffix(host)
	if !icann && !strings.Contains(suffix, ".") || host == suffix {
		return ""
	}
	return host
}

// sameSite compares registrable domains: mail.example.co.jp and www.example.co.jp belong to one owner.
func sameSite(a, b string) bool {
	a, b = strings.TrimSuffix(a, "."), strings.TrimSuffix(b, ".")
	if a == b {
		return true
	}
	sa, err := publicsuffix.EffectiveTLDPlusOne(a)
	if err != nil {
		return false
	}
	sb, err := publicsuffix.EffectiveTLDPlusOne(b)
	return err == nil && sa == sb
}
