// Package safe turns the HTML of a stranger's mail into a page that may be shown.
//
// The page is meant for an iframe with a sandbox and its own Content-Security-Policy, but does not rely on either: nothing in
// it runs, nothing in it is fetched unless the reader asked for remote images, and every link says where it leads.
//
// How it is made: the mail is read as a stream of tokens, never as a tree. Elements, attributes, addresses and CSS values
// that are known are written anew, well nested and fully escaped; all else is left out. No element is written whose content
// a browser reads in another way than text and tags (script, textarea, svg, noscript, comments, …), so a browser sees exactly the tags
// that were decided on, whatever it does to the tree afterwards. A bluemonday policy with the same lists is the second lock.
// Time and memory grow linearly with the input, which is bounded.
package safe

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"regexp"
)

// DefaultMaxBytes is how much of a body is read if Options.MaxBytes is 0.
const DefaultMaxBytes = 4 << 20

// Options say how a body is shown. The zero value shows it without any image from outside or from other parts of the mail.
type Options struct {
	// Remote lets images load from http and https addresses. It also needs a Content-Security-Policy that lets them
	// (`img-src data: https: http:`). Only <img src> is ever loaded: CSS and background images never are.
	Remote bool

	// Inline finds the part that "cid:contentID" names (RFC 2392): its bytes, and a media type that is only a hint.
	// PNG, JPEG, GIF and WebP up to 2 MiB each and 10 MiB in all become data: addresses; others become placeholders.
	// It is called once for each mention, 300 times at most. Nil: there are none.
	Inline func(contentID string) (mediaType string, data []byte, ok bool)

	// MaxBytes is where the body is cut (Report.Truncated). 0 means DefaultMaxBytes.
	MaxBytes int64

	// Language is the lang attribute of the page (BCP 47). Anything else, and "", means unknown.
	Language string
}

// Report says what was found on the way.
type Report struct {
	RemoteBlocked  int  // remote images left out, tracking pixels among them, that Options.Remote would show
	RemoteDropped  int  // remote backgrounds, fonts and style sheets: left out whatever the options
	Images         int  // images that came along as data: or cid: and are shown
	Links          int  // links that lead somewhere
	DeceptiveLinks int  // links whose text names another host than they lead to; the host is shown beside them
	Truncated      bool // the body was longer, deeper or had more elements than is shown
}

// Section is one of the texts that make up a body, already decoded to UTF-8 (bytes that are not become U+FFFD).
type Section struct {
	Text io.Reader
	// Plain says that it is no HTML: its line ends and spaces are kept.
	Plain bool
}

// HTML reads the HTML of a mail body from r, as that of a Section, and writes a whole page to w that is safe to show (package
// comment). Its errors are those of r and w; no input is refused. Calls may run at once.
func HTML(w io.Writer, r io.Reader, o Options) (Report, error) {
	return Sections(w, []Section{{Text: r}}, o)
}

// Sections is HTML for a body of several texts, which stand one below the other with a line between them. Each is read by itself,
// so that nothing that one leaves open swallows the next; the bounds are for all together. Rules of style sheets are those of the page.
func Sections(w io.Writer, sections []Section, o Options) (Report, error) {
	left := o.MaxBytes
	if left <= 0 {
		left = DefaultMaxBytes
	}
	s := newScrubber(o)
	for i, section := range sections {
		body, err := io.ReadAll(io.LimitReader(section.Text, left+1))
		if err != nil {
			return s.report, fmt.Errorf("read body: %w", err)
		}
		if int64(len(body)) > left {
			body, s.report.Truncated = body[:left], true
		}
		left -= int64(len(body))
		if i > 0 && len(bytes.TrimSpace(body)) > 0 {
			s.rule()
		}
		if err := s.section(cleanBytes(body), section.Plain); err != nil {
			return s.report, fmt.Errorf("sanitise body: %w", err)
		}
	}
	out := bufio.NewWriter(w)
	if err := writePage(out, s, o.Language); err != nil {
		return s.report, fmt.Errorf("write body: %w", err)
	}
	return s.report, nil
}

var languageTag = regexp.MustCompile(`^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}$`)

// writePage frames the body: our head, the mail's style rules, and the body after bluemonday's inspection.
func writePage(out *bufio.Writer, s *scrubber, language string) error {
	if !languageTag.MatchString(language) {
		language = ""
	}
	fmt.Fprintf(out, pageHead, language, paperStyle) //nolint:errcheck // a bufio.Writer keeps its first error for Flush
	if sheet := s.sheet.String(); sheet != "" {
		fmt.Fprintf(out, "<style>\n%s</style>\n", sheet) //nolint:errcheck // as above
	}
	out.WriteString("</head>\n") //nolint:errcheck // as above
	if err := secondLock.SanitizeReaderToWriter(s.page(), out); err != nil {
		return err
	}
	out.WriteString("\n</html>\n") //nolint:errcheck // as above
	return out.Flush()
}
