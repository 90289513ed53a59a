package api

import (
	"net/http"
	"strconv"
	"strings"
)

// span is the part of an object that is asked for.
type span struct {
	offset, length int64
	// partial means 206, even if the part is all there is.
	partial bool
}

// parseRange reads a Range field (RFC 9110, 14.1.2) for an object of size bytes. Anything that is not
// one well-formed byte range is ignored, as a server may, and the whole is answered. ok is false when the
// range lies outside.
func parseRange(field string, size int64) (s span, ok bool) {
	whole := span{length: size}
	spec, isBytes := strings.CutPrefix(field, "bytes=")
	first, last, dashed := strings.Cut(strings.TrimSpace(spec), "-")
	if !isBytes || !dashed {
		return whole, true
	}
	if first == "" { // the last n bytes
		n, valid := parseOffset(last)
		switch {
		case !valid:
			return whole, true
		case n == 0 || size == 0:
			return span{}, false
		}
		n = min(n, size)
		return span{offset: size - n, length: n, partial: true}, true
	}
	from, valid := parseOffset(first)
	to := size - 1
	if valid && last != "" {
		if to, valid = parseOffset(last); to < from {
			valid = false
		}
	}
	switch {
	case !valid:
		return whole, true
	case from >= size:
		return span{}, false
	}
	return span{offset: from, length: min(to, size-1) - from + 1, partial: true}, true
}

// parseOffset reads 1*DIGIT.
func parseOffset(text string) (int64, bool) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// notModified tells whether If-None-Match names the entity (RFC 9110, 13.1.2: weak comparison).
func notModified(field, etag string) bool {
	for tag := range strings.SplitSeq(field, ",") {
		if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == etag || tag == "*" {
			return true
		}
	}
	return false
}

// wantedRange is Range unless If-Range says that it is about another entity (RFC 9110, 13.1.5).
func wantedRange(rangeField, ifRange, etag string) string {
	if ifRange != "" && ifRange != etag {
		return ""
	}
	return rangeField
}

// status is the status of a successful answer with s.
func (s span) status() int {
	if s.partial {
		return http.StatusPartialContent
	}
	return http.StatusOK
}

// contentRange is the Content-Range field (RFC 9110, 14.4).
func (s span) contentRange(size int64) string {
	return "bytes " + strconv.FormatInt(s.offset, 10) + "-" + strconv.FormatInt(s.offset+s.length-1, 10) + "/" + strconv.FormatInt(size, 10)
}
