package mail

// budget is what is left of Limits.Bytes.
type budget int

// What a part or person takes besides its strings: keys, quotes and numbers of its JSON.
const (
	partOverhead   = 112
	personOverhead = 32
)

// take makes room for overhead and texts. Without enough of it nothing is taken, and ok is false.
func (b *budget) take(overhead int, texts ...string) (ok bool) {
	cost := overhead
	for _, s := range texts {
		cost += encodedLen(s)
	}
	if cost > int(*b) {
		return false
	}
	*b -= budget(cost)
	return true
}

func (b *budget) takePart(p Part) bool {
	return b.take(partOverhead, p.ID, p.Type, p.Charset, p.Encoding, p.Disposition, p.Name, p.ContentID)
}

// keepPersons gives those at the beginning of list that there is room for.
func (b *budget) keepPersons(list []Person, d *defects) []Person {
	for i, p := range list {
		if !b.take(personOverhead, p.Name, p.Address) {
			d.add(DefectTooManyPersons)
			return list[:i:i]
		}
	}
	return list
}

// encodedLen is the length of a Clean string without controls in JSON, where quotes and backslashes count twice.
func encodedLen(s string) int {
	n := len(s)
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			n++
		}
	}
	return n
}
