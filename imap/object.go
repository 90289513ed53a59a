package imap

import (
	"context"
	"fmt"
	"io"

	"github.com/mairust/mairust/store"
)

// usualHeader is how much of an object is read to find its header: nearly all headers are shorter.
const usualHeader = 16 << 10

// header reads the header of an object, with its blank line. whole is false when it is longer than anyone reads.
func (s *Server) header(ctx context.Context, o store.ObjectRow) (text string, whole bool, err error) {
	for _, limit := range []int64{usualHeader, maxHeaderBytes} {
		b, err := s.read(ctx, o, byteRange{0, min(limit, o.SizeBytes)})
		if err != nil {
			return "", false, err
		}
		end, found := headerEnd(string(b))
		if found || int64(len(b)) >= o.SizeBytes {
			return string(b[:end]), true, nil
		}
		text = string(b)
	}
	return text, false, nil
}

// read reads a piece of an object into memory.
func (s *Server) read(ctx context.Context, o store.ObjectRow, r byteRange) ([]byte, error) {
	rc, err := s.openRange(ctx, o, r)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	b := make([]byte, r.end-r.first)
	if _, err := io.ReadFull(rc, b); err != nil {
		return nil, fmt.Errorf("read %s: %w", o.Key, err)
	}
	return b, nil
}

// envelope gives the ENVELOPE of a message as it is written.
func (s *Server) envelope(ctx context.Context, o store.ObjectRow, header string) (string, error) {
	key := cacheKey{o.ID, 'e'}
	if text, found := s.cache.get(key); found {
		text, _ := text.(string)
		return text, nil
	}
	if header == "" {
		var err error
		if header, _, err = s.header(ctx, o); err != nil {
			return "", err
		}
	}
	text := string(readEnvelope(splitHeader(header)).append(nil))
	s.cache.put(key, text, int64(len(text)))
	return text, nil
}

// structure gives the MIME structure of a message, which is read whole when it is not in the cache.
func (s *Server) structure(ctx context.Context, o store.ObjectRow) (*part, error) {
	key := cacheKey{o.ID, 's'}
	if root, found := s.cache.get(key); found {
		root, _ := root.(*part)
		return root, nil
	}
	rc, err := s.openRange(ctx, o, byteRange{0, o.SizeBytes})
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	root, err := readStructure(rc)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", o.Key, err)
	}
	s.cache.put(key, root, root.bytes())
	return root, nil
}
