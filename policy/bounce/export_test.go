package bounce

// ParseEntry reads a line of journalctl; ok is false when it is not the line of a delivery.
func ParseEntry(line []byte) (d Delivery, ok bool, err error) {
	e, err := parseEntry(line)
	return e.delivery, e.isOne, err
}
