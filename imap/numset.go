package imap

import (
	"slices"
	"strconv"
	"strings"
)

// maxRanges bounds the ranges of one set.
const maxRanges = 10_000

// numRange is from first to last, both in it. star stands for the highest number.
type numRange struct{ first, last uint32 }

// star is "*" in a set.
const star = 0

// numSet is a sequence-set (RFC 9051, section 9), of UIDs or message sequence numbers.
type numSet struct {
	ranges []numRange
	// saved is "$", the result of the last SEARCH (RFC 5182).
	saved bool
}

func isSetChar(c byte) bool { return isDigit(c) || c == '*' || c == ':' || c == ',' }

// numSet takes a sequence set.
func (p *parser) numSet() numSet {
	if p.take('$') {
		return numSet{saved: true}
	}
	set, ok := parseNumSet(p.word(isSetChar, "a set of numbers"))
	if !ok {
		p.fail("a set of numbers")
	}
	return set
}

func parseNumSet(s string) (numSet, bool) {
	var set numSet
	for item := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(item, ":")
		if !isRange {
			last = first
		}
		a, okA := parseSetNumber(first)
		b, okB := parseSetNumber(last)
		if !okA || !okB || len(set.ranges) >= maxRanges {
			return numSet{}, false
		}
		set.ranges = append(set.ranges, numRange{a, b})
	}
	return set, true
}

func parseSetNumber(s string) (uint32, bool) {
	if s == "*" {
		return star, true
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n > 0
}

// resolve gives the ranges with the highest number in place of "*", sorted and merged.
func (s numSet) resolve(highest uint32) []numRange {
	list := make([]numRange, 0, len(s.ranges))
	for _, r := range s.ranges {
		if r.first == star {
			r.first = highest
		}
		if r.last == star {
			r.last = highest
		}
		if r.first > r.last {
			r.first, r.last = r.last, r.first
		}
		list = append(list, r)
	}
	return mergeRanges(list)
}

func mergeRanges(list []numRange) []numRange {
	slices.SortFunc(list, func(a, b numRange) int {
		switch {
		case a.first < b.first:
			return -1
		case a.first > b.first:
			return 1
		}
		return 0
	})
	merged := list[:0]
	for _, r := range list {
		if n := len(merged); n > 0 && uint64(r.first) <= uint64(merged[n-1].last)+1 {
			merged[n-1].last = max(merged[n-1].last, r.last)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// inRanges says whether n is in sorted ranges.
func inRanges(list []numRange, n uint32) bool {
	i, found := slices.BinarySearchFunc(list, n, func(r numRange, n uint32) int {
		switch {
		case r.last < n:
			return -1
		case r.first > n:
			return 1
		}
		return 0
	})
	return found && i < len(list)
}

// formatNumbers writes ascending numbers as a set: "1:3,7".
func formatNumbers(numbers []uint32) string {
	var b []byte
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		if len(b) > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(numbers[i]), 10)
		if j > i {
			b = append(b, ':')
			b = strconv.AppendUint(b, uint64(numbers[j]), 10)
		}
		i = j + 1
	}
	return string(b)
}
