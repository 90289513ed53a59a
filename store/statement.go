package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mairust/mairust/store/sqldb"
)

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

// eachIn runs a query whose %s stands for a list of values, and calls row for each row found. The list goes
// in ascending pieces, so that rows are locked in order when ids are sorted.
func eachIn(ctx context.Context, tx *sqldb.Tx, query string, ids []any, row func(sqldb.Scan) error) error {
	return eachInAfter(ctx, tx, query, nil, ids, row)
}

// eachInAfter is eachIn with fixed arguments before the list.
func eachInAfter(ctx context.Context, tx *sqldb.Tx, query string, fixed, ids []any, row func(sqldb.Scan) error) error {
	return chunks(ids, 1, func(piece []any, n int) error {
		args := append(append(make([]any, 0, len(fixed)+n), fixed...), piece...)
		return tx.Each(ctx, fmt.Sprintf(query, placeholders(len(fixed)+1, n)), args, row)
	})
}

// execRows runs an INSERT for rows of width values each, many at a time.
func execRows(ctx context.Context, tx *sqldb.Tx, prefix string, width int, values []any) error {
	return chunks(values, width, func(piece []any, n int) error {
		_, err := tx.Exec(ctx, prefix+tuples(n, strings.Split(placeholders(1, width), ", ")), piece...)
		return err
	})
}

// updateRows runs an UPDATE whose %s stands for a list of tuples, many at a time. The first of each tuple is a
// text key, the rest are integers; the statement knows them as v.column1, v.column2, …
func updateRows(ctx context.Context, tx *sqldb.Tx, query string, width int, values []any) error {
	cells := make([]string, width)
	for i := range cells {
		cells[i] = fmt.Sprintf("CAST($%d AS BIGINT)", i+1)
	}
	cells[0] = "CAST($1 AS TEXT)"
	return chunks(values, width, func(piece []any, n int) error {
		_, err := tx.Exec(ctx, fmt.Sprintf(query, tuples(n, cells)), piece...)
		return err
	})
}

// tuples repeats a tuple of cells n times, counting its parameters on.
func tuples(n int, cells []string) string {
	list := make([]string, n)
	for i := range list {
		row := make([]string, len(cells))
		for j, cell := range cells {
			row[j] = strings.Replace(cell, fmt.Sprintf("$%d", j+1), fmt.Sprintf("$%d", i*len(cells)+j+1), 1)
		}
		list[i] = "(" + strings.Join(row, ", ") + ")"
	}
	return strings.Join(list, ", ")
}

// placeholders is "$first, $first+1, …", n of them.
func placeholders(first, n int) string {
	words := make([]string, n)
	for i := range words {
		words[i] = fmt.Sprintf("$%d", first+i)
	}
	return strings.Join(words, ", ")
}

// distinct gives the values of the rows, sorted, each once.
func distinct(rows []row, value func(row) string) []any {
	seen := map[string]bool{}
	for _, r := range rows {
		seen[value(r)] = true
	}
	list := make([]any, 0, len(seen))
	for _, v := range slices.Sorted(maps.Keys(seen)) {
		list = append(list, v)
	}
	return list
}
