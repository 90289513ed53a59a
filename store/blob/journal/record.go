package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
)

// A segment is a sequence of blocks: the first holds its header, records follow, each from the beginning of a
// block. A record is believed when it carries the use number of the header and its checksums fit. What an earlier
// use of the file has left is thereby told from what counts, and so is a record that a crash has cut.
//
//	header block: magic, use (8 bytes each), CRC-32C of both (4)
//	record:       magic, use, seq (8 each), kind (2), number of keys (2), bytes of keys, bytes of body, CRC-32C of
//	              keys and body, CRC-32C of the header up to here (4 each), keys (each after its length, 2), body
//
// Numbers are little endian. A header whose use is 0 says that nothing in the segment counts. The last block has a copy of the
// header with which the last use began, for when the first block cannot be read; it is no record.
const (
	blockBytes   = 512
	segmentMagic = "MaiRustJ"
	recordMagic  = "MaiRustR"
	headBytes    = 44
)

// Bounds of a record.
const (
	// MaxBody is the longest body of an entry, in bytes.
	MaxBody     = 512 << 10
	maxKeyBytes = 64 << 10 // of all keys of an entry together
)

type kind uint16

const (
	// kindPut: the body belongs under each of the keys.
	kindPut kind = 1
	// kindDelete: what was put under the keys is gone.
	kindDelete kind = 2
	// kindVoid: the put of the same keys whose seq is in the body is to be forgotten. Without keys, as older versions wrote it, any of this seq is.
	kindVoid kind = 3
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errRecord = errors.New("no record")

// record is one entry as it lies in a segment.
type record struct {
	kind kind
	seq  uint64
	keys []string
	body []byte
}

// encodedKeys are the keys as a record holds them.
func encodedKeys(keys []string) []byte {
	var b []byte
	for _, k := range keys {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(k)))
		b = append(b, k...)
	}
	return b
}

// head makes what stands before the body: the header, completed by stamp, and the keys.
func (r *record) head() []byte {
	keys := encodedKeys(r.keys)
	b := make([]byte, headBytes, headBytes+len(keys))
	copy(b, recordMagic)
	le := binary.LittleEndian
	le.PutUint16(b[24:], uint16(r.kind))
	le.PutUint16(b[26:], uint16(len(r.keys)))
	le.PutUint32(b[28:], uint32(len(keys)))
	le.PutUint32(b[32:], uint32(len(r.body)))
	le.PutUint32(b[36:], crc32.Update(crc32.Checksum(keys, castagnoli), castagnoli, r.body))
	return append(b, keys...)
}

// stamp completes a head with what is known only when the record gets its place.
func stamp(head []byte, use, seq uint64) {
	le := binary.LittleEndian
	le.PutUint64(head[8:], use)
	le.PutUint64(head[16:], seq)
	le.PutUint32(head[40:], crc32.Checksum(head[:40], castagnoli))
}

// padded is the number of bytes that a record of n bytes takes.
func padded(n int) int64 { return (int64(n) + blockBytes - 1) / blockBytes * blockBytes }

// parse reads the record at the beginning of b, which belongs to the given use, and tells how many bytes it takes.
// The body is a part of b. errRecord when there is none that counts.
func parse(b []byte, use uint64) (record, int64, error) {
	le := binary.LittleEndian
	if len(b) < headBytes || string(b[:8]) != recordMagic || le.Uint64(b[8:]) != use ||
		le.Uint32(b[40:]) != crc32.Checksum(b[:40], castagnoli) {
		return record{}, 0, errRecord
	}
	r := record{kind: kind(le.Uint16(b[24:])), seq: le.Uint64(b[16:])}
	count, keyBytes, bodyBytes := int(le.Uint16(b[26:])), int64(le.Uint32(b[28:])), int64(le.Uint32(b[32:]))
	end := headBytes + keyBytes + bodyBytes
	if keyBytes > maxKeyBytes || bodyBytes > MaxBody || end > int64(len(b)) ||
		le.Uint32(b[36:]) != crc32.Checksum(b[headBytes:end], castagnoli) {
		return record{}, 0, errRecord
	}
	keys, ok := decodeKeys(b[headBytes:headBytes+keyBytes], count)
	if !ok {
		return record{}, 0, errRecord
	}
	r.keys, r.body = keys, b[headBytes+keyBytes:end]
	return r, padded(int(end)), nil
}

func decodeKeys(b []byte, count int) ([]string, bool) {
	var keys []string
	for range count {
		if len(b) < 2 {
			return nil, false
		}
		n := int(binary.LittleEndian.Uint16(b))
		if len(b) < 2+n {
			return nil, false
		}
		keys = append(keys, string(b[2:2+n]))
		b = b[2+n:]
	}
	return keys, len(b) == 0
}

// headerBlock is the first block of a segment in this use.
func headerBlock(use uint64) []byte {
	b := make([]byte, blockBytes)
	copy(b, segmentMagic)
	binary.LittleEndian.PutUint64(b[8:], use)
	binary.LittleEndian.PutUint32(b[16:], crc32.Checksum(b[:16], castagnoli))
	return b
}

// parseHeader gives the use of a segment; 0 when nothing in it counts. Of one whose header is damaged it is that of its first record, with which
// each use begins, or of the copy at its end; it may have been retired, but what comes back is better than what is lost.
func parseHeader(b []byte) (use uint64, damaged bool) {
	if len(b) >= blockBytes {
		if use, ok := headerUse(b[:blockBytes]); ok {
			return use, false
		}
	}
	if use = firstUse(b); use == 0 && len(b) > blockBytes {
		use, _ = headerUse(b[len(b)-blockBytes:])
	}
	wasUsed := len(bytes.Trim(b[:min(blockBytes, len(b))], "\x00")) > 0
	return use, use != 0 || wasUsed
}

// headerUse reads a header.
func headerUse(block []byte) (use uint64, ok bool) {
	le := binary.LittleEndian
	if string(block[:8]) != segmentMagic || le.Uint32(block[16:]) != crc32.Checksum(block[:16], castagnoli) {
		return 0, false
	}
	return le.Uint64(block[8:]), true
}

// firstUse looks at no block behind the first: there may be what senders have written.
func firstUse(b []byte) (use uint64) {
	if len(b) < blockBytes+headBytes {
		return 0
	}
	le, head := binary.LittleEndian, b[blockBytes:]
	if string(head[:8]) != recordMagic || le.Uint32(head[40:]) != crc32.Checksum(head[:40], castagnoli) {
		return 0
	}
	return le.Uint64(head[8:])
}

// parseSegment gives all records that count. A block that begins none is passed over: behind one that is damaged
// there may be good ones.
func parseSegment(b []byte) []record {
	use, _ := parseHeader(b)
	if use == 0 {
		return nil
	}
	var records []record
	for at := int64(blockBytes); at < int64(len(b)); {
		r, n, err := parse(b[at:], use)
		if err != nil {
			at += blockBytes
			continue
		}
		records = append(records, r)
		at += n
	}
	return records
}

// inOrder sorts the records of several segments by when they were made.
func inOrder(records []record) {
	slices.SortFunc(records, func(a, b record) int {
		switch {
		case a.seq < b.seq:
			return -1
		case a.seq > b.seq:
			return 1
		}
		return 0
	})
}
