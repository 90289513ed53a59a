package blob

import (
	"fmt"
	"strings"
)

// Bounds of keys: a segment is a file name with room for suffixes, a key fits into S3's 1,024 bytes with a
// prefix before it.
const (
	maxKeyBytes     = 900
	maxSegmentBytes = 200
)

// CheckKey says whether key is well-formed: 1 to 900 bytes, slash-separated segments of 1 to 200 bytes of
// [A-Za-z0-9._-], none of which begins with a dot. Every error is an ErrKey. Backends call it themselves.
func CheckKey(key string) error {
	if len(key) > maxKeyBytes {
		return fmt.Errorf("%w: longer than %d bytes", ErrKey, maxKeyBytes)
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" || !isSegmentStart(segment) {
			return fmt.Errorf("%w: %.100q", ErrKey, key)
		}
	}
	return nil
}

// CheckPrefix says whether a key can start with prefix. Every error is an ErrKey.
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	dir, last := splitKey(prefix)
	if dir != "" {
		if err := CheckKey(dir); err != nil {
			return err
		}
	}
	if strings.HasPrefix(prefix, "/") || len(prefix) > maxKeyBytes || !isSegmentStart(last) {
		return fmt.Errorf("%w: %.100q", ErrKey, prefix)
	}
	return nil
}

// isSegmentStart says whether s is a segment or, when empty, could become one.
func isSegmentStart(s string) bool {
	if len(s) > maxSegmentBytes || strings.HasPrefix(s, ".") {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// splitKey splits at the last slash. dir is "" for a key of one segment.
func splitKey(key string) (dir, name string) {
	i := strings.LastIndexByte(key, '/')
	if i < 0 {
		return "", key
	}
	return key[:i], key[i+1:]
}
