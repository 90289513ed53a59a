package rule

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/mairust/mairust/internal/mail"
)

// rule is Options made ready.
type rule struct {
	name    string
	anyWay  bool
	way     mail.Direction
	all     []test
	none    []test
	verdict mail.Verdict
	stop    bool
}

var (
	tagForm      = regexp.MustCompile(`^[a-z0-9._-]{1,40}$`)
	enhancedForm = regexp.MustCompile(`^[45]\.\d{1,3}\.\d{1,3}$`)
	textForm     = regexp.MustCompile(`^[ -~]{1,200}$`)
	fieldForm    = regexp.MustCompile(`^[!-9;-~]+$`)
	typeForm     = regexp.MustCompile(`^[a-z0-9!#$&^_.+-]+/([a-z0-9!#$&^_.+-]+|\*)$`)
)

// compile makes one rule of its options; errors name the field.
func compile(o Options) (rule, error) {
	r := rule{name: o.Name, stop: o.Stop}
	if !textForm.MatchString(o.Name) {
		return r, fmt.Errorf("name: use 1 to 200 printable ASCII characters")
	}
	if err := r.setDirection(o.Direction); err != nil {
		return r, err
	}
	var err error
	if r.all, err = tests(o.Conditions); err != nil {
		return r, err
	}
	if o.Not != nil {
		if r.none, err = tests(*o.Not); err != nil {
			return r, fmt.Errorf("not: %w", err)
		}
	}
	r.verdict, err = verdict(o)
	return r, err
}

func (r *rule) setDirection(word string) error {
	switch word {
	case "", "inbound":
		r.way = mail.Inbound
	case "outbound":
		r.way = mail.Outbound
	case "local":
		r.way = mail.Local
	case "any":
		r.anyWay = true
	default:
		return fmt.Errorf("direction: %q is none of inbound, outbound, local, any", word)
	}
	return nil
}

// verdict is what the rule says when it matches.
func verdict(o Options) (mail.Verdict, error) {
	v := mail.Verdict{Tags: slices.Clone(o.Tags), Score: o.Score, Reasons: []string{"rule:" + o.Name}}
	for _, t := range o.Tags {
		if !tagForm.MatchString(t) {
			return v, fmt.Errorf("tags: %q: use 1 to 40 of a-z 0-9 . _ -", t)
		}
	}
	switch {
	case o.Action != "":
		a, err := mail.ParseAction(o.Action)
		if err != nil {
			return v, fmt.Errorf("action: %w", err)
		}
		v.Action = a
	case len(o.Tags) > 0:
		v.Action = mail.Tag
	}
	if v.Action == mail.Tag && len(o.Tags) == 0 {
		return v, fmt.Errorf("tags: the action tag needs at least one")
	}
	if math.IsNaN(v.Score) || v.Score < -maxScore || v.Score > maxScore {
		return v, fmt.Errorf("score: must be within ±%d", maxScore)
	}
	var err error
	v.Reply, err = reply(o.Reply, v.Action)
	return v, err
}

// maxScore is far beyond what any filter gives.
const maxScore = 1_000_000

func reply(o *Reply, action mail.Action) (*mail.Reply, error) {
	if o == nil {
		return nil, nil
	}
	r := mail.Reply{Code: o.Code, Enhanced: o.Enhanced, Text: o.Text}
	class := 5
	switch action {
	case mail.Reject:
	case mail.Tempfail:
		class = 4
	default:
		return nil, fmt.Errorf("reply: only reject and tempfail answer; the action is %s", action)
	}
	if r.Code == 0 {
		r.Code = map[int]int{5: 550, 4: 451}[class]
	}
	if r.Enhanced == "" {
		r.Enhanced = fmt.Sprintf("%d.7.1", class)
	}
	switch {
	case r.Code/100 != class || r.Code == 421:
		return nil, fmt.Errorf("reply.code: %d does not go with %s: use %dxx (not 421)", r.Code, action, class)
	case !enhancedForm.MatchString(r.Enhanced) || int(r.Enhanced[0]-'0') != class:
		return nil, fmt.Errorf("reply.enhanced: %q does not go with %s: use %d.x.x", r.Enhanced, action, class)
	case !textForm.MatchString(r.Text):
		return nil, fmt.Errorf("reply.text: use one line of 1 to 200 printable ASCII characters")
	}
	return &r, nil
}

// tests makes the conditions that are there ready, cheap ones first.
func tests(c Conditions) ([]test, error) {
	b := builder{}
	b.size(c)
	if c.Authenticated != nil {
		b.add(authenticatedTest(*c.Authenticated))
	}
	b.client(c.Client)
	b.pattern("sender_matches", c.SenderMatches, senderTest)
	b.pattern("recipient_matches", c.RecipientMatches, recipientTest)
	b.pattern("helo_matches", c.HeloMatches, heloTest)
	for i, h := range c.Header {
		b.header(i, h)
	}
	b.pattern("attachment_name_matches", c.AttachmentNameMatches, attachmentNameTest)
	b.types(c.AttachmentType)
	b.defects(c.Defect)
	if c.BodyContains != "" {
		b.add(bodyTest(c.BodyContains))
	}
	return b.tests, b.err
}

// builder collects tests until the first error.
type builder struct {
	tests []test
	err   error
}

func (b *builder) add(t test) { b.tests = append(b.tests, t) }

func (b *builder) fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
}

func (b *builder) size(c Conditions) {
	if c.SizeGT < 0 || c.SizeLT < 0 {
		b.fail("size_gt, size_lt: must not be negative")
	}
	if c.SizeGT > 0 && c.SizeLT > 0 && c.SizeGT+1 >= c.SizeLT {
		b.fail("size_gt, size_lt: no size is over %d and under %d", c.SizeGT, c.SizeLT)
	}
	if c.SizeGT > 0 || c.SizeLT > 0 {
		b.add(sizeTest(c.SizeGT, c.SizeLT))
	}
}

func (b *builder) client(cidrs []string) {
	var nets []netip.Prefix
	for _, s := range cidrs {
		p, err := parsePrefix(s)
		if err != nil {
			b.fail("client: %q is neither an address nor a CIDR such as 192.0.2.0/24", s)
			return
		}
		nets = append(nets, p)
	}
	if len(nets) > 0 {
		b.add(clientTest(nets))
	}
}

func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		return a.Unmap().Prefix(a.Unmap().BitLen())
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

// pattern adds a test of the named field if the pattern is there.
func (b *builder) pattern(field, pattern string, make func(*regexp.Regexp) test) {
	if pattern == "" {
		return
	}
	if re := b.compile(field, pattern); re != nil {
		b.add(make(re))
	}
}

func (b *builder) compile(field, pattern string) *regexp.Regexp {
	if _, err := regexp.Compile(pattern); err != nil { // so that the message shows the pattern as given
		b.fail("%s: %w", field, err)
		return nil
	}
	re, err := regexp.Compile("(?i)" + pattern)
	if err != nil {
		b.fail("%s: %w", field, err)
		return nil
	}
	return re
}

func (b *builder) header(i int, h HeaderCondition) {
	field := fmt.Sprintf("header[%d]", i)
	switch {
	case !fieldForm.MatchString(h.Name):
		b.fail("%s.name: %q is no name of a header field", field, h.Name)
	case h.Matches == "":
		b.fail("%s.matches: required; use . for any text", field)
	default:
		b.pattern(field+".matches", h.Matches, func(re *regexp.Regexp) test { return headerTest(h.Name, re) })
	}
}

func (b *builder) types(types []string) {
	var wanted []string
	for _, t := range types {
		t = strings.ToLower(t)
		if !typeForm.MatchString(t) {
			b.fail("attachment_type: %q is no media type such as application/zip or image/*", t)
			return
		}
		wanted = append(wanted, strings.TrimSuffix(t, "*"))
	}
	if len(wanted) > 0 {
		b.add(attachmentTypeTest(wanted))
	}
}

func (b *builder) defects(words []string) {
	known := mail.AllDefects()
	for _, w := range words {
		if !slices.Contains(known, w) {
			b.fail("defect: %q is none of %s", w, strings.Join(known, ", "))
			return
		}
	}
	if len(words) > 0 {
		b.add(defectTest(slices.Clone(words)))
	}
}
