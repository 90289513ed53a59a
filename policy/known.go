package policy

import "math/bits"

// The recipients that an account knows are two Bloom filters: what is sent goes into the first, and every 30 days
// the second is forgotten and the first takes its place. A recipient is known for 30 to 60 days after it was last
// written to. With 2,500 of them one in 200 strangers is taken for known, with 5,000 one in 20; a filter that is
// fuller than half knows everybody, so that the senders of very many are not judged by it.
const (
	knownBits   = 1 << 15
	knownWords  = knownBits / 64
	knownHashes = 4
	knownUS     = 30 * dayUS
)

type filter [knownWords]uint64

func (f *filter) has(hash uint64) bool { return hasBits(f[:], hash) }
func (f *filter) add(hash uint64)      { addBits(f[:], hash) }

// hasBits looks hash up in a Bloom filter of len(words), a power of two. Its bits must be evenly spread, which those of a
// keyed hash are.
func hasBits(words []uint64, hash uint64) bool {
	size := uint64(len(words)) * 64
	for range knownHashes {
		if words[hash%size/64]&(1<<(hash%64)) == 0 {
			return false
		}
		hash /= size
	}
	return true
}

func addBits(words []uint64, hash uint64) {
	size := uint64(len(words)) * 64
	for range knownHashes {
		words[hash%size/64] |= 1 << (hash % 64)
		hash /= size
	}
}

func (f *filter) ones() (n int) {
	for _, w := range f {
		n += bits.OnesCount64(w)
	}
	return n
}

// known are the filters and the time when the first one was begun.
type known struct {
	now, before filter
	sinceUS     int64
}

// turn rotates the filters.
func (k *known) turn(nowUS int64) {
	switch {
	case k.sinceUS == 0:
		k.sinceUS = nowUS
	case nowUS-k.sinceUS >= 2*knownUS:
		*k = known{sinceUS: nowUS}
	case nowUS-k.sinceUS >= knownUS:
		k.before, k.now, k.sinceUS = k.now, filter{}, nowUS
	}
}

func (k *known) has(hash uint64) bool { return k.now.has(hash) || k.before.has(hash) }

// full says that too many are known to tell strangers.
func (k *known) full() bool { return k.now.ones() > knownBits/2 || k.before.ones() > knownBits/2 }
