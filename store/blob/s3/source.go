package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"io"

	"github.com/mairust/mairust/store/blob"
)

// inMemory is the size up to which a content is kept in memory while it is put: it is sent to several keys at once then.
const inMemory = 256 << 10

// source is a content that is to be put, read once already, so that all its digests are known.
type source struct {
	sums
	r         io.ReadSeeker
	sizeBytes int64
	// content is that of a small one.
	content []byte
	parts   []part
}

// part is what one request carries.
type part struct {
	start, sizeBytes int64
	digest           digest
	crc              uint32
}

// checksum is the CRC as S3 writes it.
func (p part) checksum() *string {
	s := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, p.crc))
	return &s
}

// measure reads size bytes of r, from its beginning, and cuts them into parts of partBytes (a multiple of chunkBytes).
func measure(ctx context.Context, r io.ReadSeeker, size, partBytes int64) (*source, error) {
	s := &source{r: r, sizeBytes: size}
	m := newMeter(s, partBytes)
	var to io.Writer = m
	kept := new(bytes.Buffer)
	if size <= inMemory {
		kept.Grow(int(size))
		to = io.MultiWriter(m, kept)
	}
	if err := blob.CopyExactly(ctx, to, r, size); err != nil {
		return nil, err
	}
	m.end()
	s.content = kept.Bytes()
	return s, nil
}

func (s *source) inMemory() bool { return s.sizeBytes <= inMemory }

// open gives a part of the content to a request, which may rewind it. One at a time may be in use, unless the content is
// in memory.
func (s *source) open(p part) io.ReadSeeker {
	if s.inMemory() {
		return bytes.NewReader(s.content[p.start : p.start+p.sizeBytes])
	}
	return &section{r: s.r, start: p.start, size: p.sizeBytes}
}

// meter takes the digests of what is written to it.
type meter struct {
	s         *source
	partBytes int64
	// chunk is nil when there is only one, part when there is only one.
	whole, chunk, part hash.Hash
	crc                uint32
	at                 int64
}

func newMeter(s *source, partBytes int64) *meter {
	m := &meter{s: s, partBytes: partBytes, whole: sha256.New()}
	if s.sizeBytes > chunkBytes {
		m.chunk = sha256.New()
	}
	if s.sizeBytes > partBytes {
		m.part = sha256.New()
	}
	return m
}

func (m *meter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		n := min(int64(len(p)), chunkBytes-m.at%chunkBytes)
		m.add(p[:n])
		p = p[n:]
	}
	return total, nil
}

// add takes bytes of one chunk, and with that of one part.
func (m *meter) add(p []byte) {
	m.whole.Write(p)
	m.crc = crc32.Update(m.crc, crc32.IEEETable, p)
	if m.part != nil {
		m.part.Write(p)
	}
	m.at += int64(len(p))
	last := m.at == m.s.sizeBytes
	if m.chunk != nil {
		m.chunk.Write(p)
		if last || m.at%chunkBytes == 0 {
			m.s.chunks = append(m.s.chunks, digest(m.chunk.Sum(nil)))
			m.chunk.Reset()
		}
	}
	if m.part != nil && (last || m.at%m.partBytes == 0) {
		m.endPart(m.part)
		m.part.Reset()
	}
}

func (m *meter) endPart(of hash.Hash) {
	start := int64(0)
	if n := len(m.s.parts); n > 0 {
		start = m.s.parts[n-1].start + m.s.parts[n-1].sizeBytes
	}
	m.s.parts = append(m.s.parts, part{start: start, sizeBytes: m.at - start, digest: digest(of.Sum(nil)), crc: m.crc})
	m.crc = 0
}

func (m *meter) end() {
	m.s.whole = digest(m.whole.Sum(nil))
	if m.part == nil {
		m.endPart(m.whole)
	}
}

// section is a part of a reader.
type section struct {
	r               io.ReadSeeker
	start, size, at int64
	placed          bool
}

func (s *section) Read(p []byte) (int, error) {
	if s.at >= s.size {
		return 0, io.EOF
	}
	if !s.placed {
		if _, err := s.r.Seek(s.start+s.at, io.SeekStart); err != nil {
			return 0, err
		}
		s.placed = true
	}
	n, err := s.r.Read(p[:min(int64(len(p)), s.size-s.at)])
	s.at += int64(n)
	return n, err
}

// Seek is what a request does that is made again.
func (s *section) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += s.size
	}
	s.at, s.placed = offset, false
	return offset, nil
}
