package rule

import (
	"bytes"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// test is one condition, ready to be asked. Errors come from reading the message only.
type test func(*facts) (bool, error)

func sizeTest(over, under int64) test {
	return func(f *facts) (bool, error) {
		n := f.msg.SizeBytes
		return (over == 0 || n > over) && (under == 0 || n < under), nil
	}
}

func authenticatedTest(want bool) test {
	return func(f *facts) (bool, error) { return (f.msg.Client.Login != "") == want, nil }
}

func clientTest(nets []netip.Prefix) test {
	return func(f *facts) (bool, error) {
		addr := f.msg.Client.Addr.Unmap().WithZone("")
		return slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(addr) }), nil
	}
}

func senderTest(re *regexp.Regexp) test {
	return func(f *facts) (bool, error) { return re.MatchString(f.msg.From.String()), nil }
}

func recipientTest(re *regexp.Regexp) test {
	return func(f *facts) (bool, error) {
		for _, r := range f.msg.Rcpt {
			if re.MatchString(r.Address.String()) {
				return true, nil
			}
		}
		return false, nil
	}
}

func heloTest(re *regexp.Regexp) test {
	return func(f *facts) (bool, error) { return re.MatchString(f.msg.Client.Helo), nil }
}

func headerTest(name string, re *regexp.Regexp) test {
	name = strings.ToLower(name)
	return func(f *facts) (bool, error) { return slices.ContainsFunc(f.header(name), re.MatchString), nil }
}

func attachmentNameTest(re *regexp.Regexp) test {
	return func(f *facts) (bool, error) {
		for _, p := range f.attachments() {
			if re.MatchString(p.Name) {
				return true, nil
			}
		}
		return false, nil
	}
}

// attachmentTypeTest takes types in lower case; one that ends in "/" stands for all below it.
func attachmentTypeTest(wanted []string) test {
	return func(f *facts) (bool, error) {
		for _, p := range f.attachments() {
			for _, w := range wanted {
				if p.Type == w || strings.HasSuffix(w, "/") && strings.HasPrefix(p.Type, w) {
					return true, nil
				}
			}
		}
		return false, nil
	}
}

func defectTest(words []string) test {
	return func(f *facts) (bool, error) {
		s := f.msg.Summary
		return s != nil && slices.ContainsFunc(s.Defects, func(d string) bool { return slices.Contains(words, d) }), nil
	}
}

func bodyTest(text string) test {
	want := []byte(text)
	return func(f *facts) (bool, error) {
		body, err := f.body()
		return bytes.Contains(body, want), err
	}
}
