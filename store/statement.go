package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/mairust/mairust/store/sqldb"
)

// maxListed is how many values go into one list of a statement, at most.
const maxListed = 256

// chunkSizes are the lengths in which lists go into statements. A few fixed lengths keep the number of
// different statement texts, and so of prepared statements, small.
var chunkSizes = [...]int{64, 16, 4, 1}

// chunks calls fn with consecutive pieces of list, each of one of the chunkSizes times width.
func chunks(list []any, width int, fn func(piece []any, n int) error) error {
	for _, n := range chunkSizes {
		for len(list) >= n*width {
			if err := fn(list[:n*width], n); err != nil {
				return err
			}
			list = list[n*width:]
		}
	}
	return nil
}

// queueIn queues a query whose %s stands for a list of values, with a tail behind it, and calls row for each row found. The list
// goes in ascending pieces, so that rows are locked in order when ids are sorted.
func queueIn(tx *sqldb.Tx, query, tail string, ids []any, row func(sqldb.Scan) error) {
	queueInAfter(tx, query, tail, nil, ids, row)
}

// queueInAfter is queueIn with fixed arguments before the list.
func queueInAfter(tx *sqldb.Tx, query, tail string, fixed, ids []any, row func(sqldb.Scan) error) {
	for piece := range slices.Chunk(ids, maxListed) {
		piece = padded(piece)
		text := fmt.Sprintf(query, placeholders(len(fixed)+1, len(piece))) + tail
		tx.QueueEach(text, slices.Concat(fixed, piece), row)
	}
}

// eachIn runs a query whose %s stands for a list of values, after fixed arguments, outside of a transaction: a statement for each piece of the list.
func (s *Store) eachIn(ctx context.Context, query string, fixed, ids []any, row func(sqldb.Scan) error) error {
	for piece := range slices.Chunk(ids, maxListed) {
		piece = padded(piece)
		text := fmt.Sprintf(query, placeholders(len(fixed)+1, len(piece)))
		if err := s.each(ctx, text, slices.Concat(fixed, piece), row); err != nil {
			return err
		}
	}
	return nil
}

// padded repeats the last value of a list up to a power of two. That finds nothing more, and keeps the number of
// different statement texts, and so of prepared statements, small.
func padded(list []any) []any {
	n := 1
	for n < len(list) {
		n *= 2
	}
	whole := make([]any, n)
	for i := copy(whole, list); i < n; i++ {
		whole[i] = list[len(list)-1]
	}
	return whole
}

// valueList is a list of ids for a statement.
func valueList[T ~string](ids []T) []any {
	list := make([]any, 0, len(ids))
	for _, id := range ids {
		list = append(list, string(id))
	}
	return list
}

// placeholders is "$first, $first+1, …", n of them.
func placeholders(first, n int) string {
	text := make([]byte, 0, 6*n)
	for i := range n {
		if i > 0 {
			text = append(text, ", "...)
		}
		text = append(text, '$')
		text = strconv.AppendInt(text, int64(first+i), 10)
	}
	return string(text)
}

// distinct gives the values of the rows, sorted, each once.
func distinct(rows []row, value func(row) string) []any {
	values := make([]string, len(rows))
	for i, r := range rows {
		values[i] = value(r)
	}
	slices.Sort(values)
	values = slices.Compact(values)
	list := make([]any, len(values))
	for i, v := range values {
		list[i] = v
	}
	return list
}
