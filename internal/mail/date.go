package mail

import (
	"strconv"
	"strings"
	"time"
)

// ParseDate reads the value of a Date field (RFC 5322, 3.3 and 4.3), or one of the other forms that are seen in mail, and
// gives it with the offset it was written with, UTC when there is none. It gives the zero time for what it cannot
// read, for days and times that do not exist, and for years that no mail is from.
func ParseDate(value string) time.Time {
	value = foldSpace(value[:min(len(value), maxRaw[fieldDate])])
	// Nearly all dates are of this form.
	bare, _, _ := strings.Cut(value, " (")
	t, err := time.Parse("Mon, 2 Jan 2006 15:04:05 -0700", bare)
	if err != nil {
		t = parseLooseDate(value)
	}
	if year := t.UTC().Year(); year < 1970 || year > 9999 {
		return time.Time{}
	}
	return t
}

// parseLooseDate reads a date word by word.
func parseLooseDate(value string) time.Time {
	value, _, _ = strings.Cut(withoutComments(value), "(") // one that is never closed goes to the end
	d := dateWords{day: -1, year: -1, hour: -1}
	for _, word := range strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == ',' }) {
		if !d.take(word) {
			return time.Time{}
		}
	}
	return d.time()
}

// dateWords is what the words of a date said so far; what is less than 0, and month 0, was not said.
type dateWords struct {
	day, year            int
	month                time.Month
	hour, minute, second int
	weekday              bool
	// offset is nil when none is known. It was given as a name, as a number (which counts), or as both.
	offset       *time.Location
	named, exact bool
}

// take reads the next word; false for one that is out of place.
func (d *dateWords) take(word string) bool {
	switch c := word[0]; {
	case c == '+' || c == '-':
		return d.takeOffset(word)
	case !isDigit(c):
		return d.takeName(strings.Trim(word, `".`))
	case strings.IndexByte(word, ':') >= 0:
		if day, clock, ok := strings.Cut(word, "T"); ok && strings.Count(day, "-") == 2 { // RFC 3339
			return d.takeDay(day) && d.takeTime(clock)
		}
		return d.takeTime(word)
	case strings.ContainsAny(word, "-/"):
		return d.takeDay(word)
	}
	return d.takeNumber(word)
}

// takeDay reads all of a day: 15-Jan-2024, 2024-01-15, 2024/01/15.
func (d *dateWords) takeDay(word string) bool {
	parts := strings.FieldsFunc(word, func(r rune) bool { return r == '-' || r == '/' })
	if len(parts) != 3 || d.day >= 0 || d.month != 0 || d.year >= 0 {
		return false
	}
	if d.month = monthNamed(parts[1]); d.month != 0 {
		return d.takeNumber(parts[0]) && d.takeNumber(parts[2])
	}
	month, ok := smallNumber(parts[1], 12)
	if len(parts[0]) != 4 || !ok {
		return false
	}
	d.month = time.Month(month)
	return d.takeNumber(parts[2]) && d.takeNumber(parts[0])
}

// takeNumber reads the day of the month, and the year after it.
func (d *dateWords) takeNumber(word string) (ok bool) {
	if d.day < 0 {
		d.day, ok = smallNumber(word, 31)
		return ok
	}
	if d.year >= 0 || d.month == 0 {
		return false
	}
	d.year, ok = yearNumber(word)
	return ok
}

// yearNumber reads a year, which may lack its century (RFC 5322, 4.3).
func yearNumber(word string) (year int, ok bool) {
	n, err := strconv.ParseUint(word, 10, 16)
	year = int(n)
	switch {
	case err != nil || len(word) < 2 || len(word) > 4:
		return 0, false
	case len(word) == 2 && year < 50:
		year += 2000
	case len(word) < 4:
		year += 1900
	}
	return year, true
}

// takeTime reads 10:00, 10:00:00 and 10:00:00.000, with or without an offset or Z right after it. A leap second, also of
// minutes that have none, is the beginning of the next minute.
func (d *dateWords) takeTime(word string) bool {
	clock, zone := word, ""
	if i := strings.IndexFunc(word, func(r rune) bool { return (r < '0' || r > '9') && r != ':' && r != '.' }); i >= 0 {
		clock, zone = word[:i], word[i:]
	}
	clock, fraction, _ := strings.Cut(clock, ".")
	parts := strings.Split(clock, ":")
	if d.hour >= 0 || len(parts) < 2 || len(parts) > 3 || strings.ContainsAny(fraction, ".:") {
		return false
	}
	parts = append(parts, "0")
	var ok [3]bool
	d.hour, ok[0] = smallNumber(parts[0], 23)
	d.minute, ok[1] = smallNumber(parts[1], 59)
	d.second, ok[2] = smallNumber(parts[2], 60)
	return ok == [3]bool{true, true, true} && (zone == "" || d.take(zone))
}

// takeName reads names of weekdays, months and zones.
func (d *dateWords) takeName(name string) bool {
	if month := monthNamed(name); month != 0 && d.month == 0 {
		d.month = month
		return true
	}
	if !d.weekday && d.day < 0 && d.month == 0 && isWeekday(name) {
		d.weekday = true
		return true
	}
	return d.takeZone(name)
}

// takeZone reads the name of a zone, alone or before an offset, which then counts (GMT+0900). Of names that are not in zones
// nothing is known (RFC 5322, 4.3), they are UTC.
func (d *dateWords) takeZone(name string) bool {
	offset := ""
	if i := strings.IndexAny(name, "+-"); i > 0 {
		name, offset = name[:i], name[i:]
	}
	name = strings.ToUpper(name)
	switch {
	case d.hour < 0 || d.named || name == "" || name == "AM" || name == "PM" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "":
		return false
	case !d.exact:
		d.offset = zones[name]
	}
	d.named = true
	return offset == "" || d.takeOffset(offset)
}

// zones are the names of RFC 5322, 4.3, and the one that is seen in Japanese mail.
var zones = map[string]*time.Location{
	"EST": hours(-5), "EDT": hours(-4), "CST": hours(-6), "CDT": hours(-5), "MST": hours(-7), "MDT": hours(-6), "PST": hours(-8), "PDT": hours(-7),
	"JST": hours(9),
}

func hours(n int) *time.Location { return time.FixedZone("", n*60*60) }

// takeOffset reads +0900, +09:00 and +09.
func (d *dateWords) takeOffset(word string) bool {
	digits := strings.Replace(word[1:], ":", "", 1)
	if d.hour < 0 || d.exact || len(digits) != 4 && (len(digits) != 2 || len(word) != 3) {
		return false
	}
	h, ok := smallNumber(digits[:2], 23)
	m, alsoOK := smallNumber((digits + "00")[2:4], 59)
	if !ok || !alsoOK {
		return false
	}
	seconds := (h*60 + m) * 60
	if word[0] == '-' {
		seconds = -seconds
	}
	d.offset, d.exact = time.FixedZone("", seconds), true
	return true
}

// time gives the zero time when something is missing, or the month has no such day.
func (d *dateWords) time() time.Time {
	if d.day < 0 || d.month == 0 || d.year < 0 || d.hour < 0 {
		return time.Time{}
	}
	place := d.offset
	if place == nil {
		place = time.UTC
	}
	if time.Date(d.year, d.month, d.day, 0, 0, 0, 0, place).Day() != d.day {
		return time.Time{}
	}
	return time.Date(d.year, d.month, d.day, d.hour, d.minute, d.second, 0, place)
}

// monthNamed gives the month of that name, in English, whole or of at least three letters; 0 for none.
func monthNamed(name string) time.Month {
	for m := time.January; m <= time.December; m++ {
		if begins(m.String(), name) {
			return m
		}
	}
	return 0
}

func isWeekday(name string) bool {
	for day := time.Sunday; day <= time.Saturday; day++ {
		if begins(day.String(), name) {
			return true
		}
	}
	return false
}

// begins reports at least three letters of a name.
func begins(name, letters string) bool {
	return len(letters) >= 3 && len(letters) <= len(name) && strings.EqualFold(name[:len(letters)], letters)
}

// smallNumber reads one or two digits.
func smallNumber(word string, limit int) (n int, ok bool) {
	for i := range len(word) {
		if !isDigit(word[i]) {
			return 0, false
		}
		n = 10*n + int(word[i]-'0')
	}
	return n, len(word) > 0 && len(word) <= 2 && n <= limit
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
