package main

import (
	"bytes"
	"strconv"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api/client"
	"github.com/mairust/mairust/api/wire"
)

// numbers gives 0 to n-1 by pages, as a server does. The first page has more in front of it.
func numbers(n int, front ...int) func(client.Page) (wire.List[int], error) {
	return func(p client.Page) (wire.List[int], error) {
		var page wire.List[int]
		next := 0
		if p.Cursor == "" {
			page.Data = append(page.Data, front...)
		} else {
			next, _ = strconv.Atoi(p.Cursor)
		}
		for range min(p.Limit, n-next) {
			page.Data = append(page.Data, next)
			next++
		}
		if next < n {
			page.Pagination = wire.Pagination{HasMore: true, Cursor: strconv.Itoa(next)}
		}
		return page, nil
	}
}

func TestAListEndsAtItsLimitAndSaysWhetherThereAreMore(t *testing.T) {
	for _, row := range []struct {
		limit, things int
		front         []int
		rows          int
		more          bool
	}{
		{limit: 150, things: 300, rows: 150, more: true},
		{limit: 150, things: 180, rows: 150, more: true},
		{limit: 200, things: 300, rows: 200, more: true},
		{limit: 200, things: 200, rows: 200},
		{limit: 400, things: 300, rows: 300},
		{limit: 0, things: 300, rows: 300},
		{limit: 1, things: 0, front: []int{-2, -1}, rows: 1, more: true},
		{limit: 100, things: 100, front: []int{-1}, rows: 100, more: true},
		{limit: 101, things: 100, front: []int{-1}, rows: 101},
		{limit: 5, things: 0},
	} {
		var notes bytes.Buffer
		s := &session{printer: printer{notes: &notes, lang: "en"}}
		list, err := collect(&cobra.Command{}, s, row.limit, numbers(row.things, row.front...))
		require.NoError(t, err)
		require.Len(t, list.Data, row.rows, "%+v", row)
		require.Equal(t, row.more, list.Pagination.HasMore, "%+v", row)
		require.Equal(t, row.more, notes.String() == "There are more: use --limit.\n", "%+v: %q", row, notes.String())
		for i, got := range list.Data {
			require.Equal(t, i-len(row.front), got, "%+v", row)
		}
	}
}
