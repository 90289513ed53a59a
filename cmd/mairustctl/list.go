package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/api/client"
	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/cmd/internal/command"
)

// defaultLimit is how many rows a list shows unless told otherwise.
const defaultLimit = 100

func addLimit(cmd *cobra.Command, limit *int) {
	cmd.Flags().IntVar(limit, "limit", defaultLimit, "show at most so many (`N`); 0 = all")
}

// maxPage is the most that the server gives at once.
const maxPage = 100

// collect reads pages until there are limit things, or all for 0, and notes when there are more.
func collect[T any](cmd *cobra.Command, s *session, limit int, read func(client.Page) (wire.List[T], error)) (wire.List[T], error) {
	if limit < 0 {
		return wire.List[T]{}, command.Misuse(cmd, errors.New("--limit is 0 or more"))
	}
	all := wire.List[T]{Data: []T{}}
	page := client.Page{Limit: maxPage}
	for {
		if limit > 0 {
			page.Limit = min(limit-len(all.Data), maxPage)
		}
		got, err := read(page)
		if err != nil {
			return all, err
		}
		all.Data = append(all.Data, got.Data...)
		more := got.Pagination.HasMore
		if limit > 0 && len(all.Data) > limit { // what stands before the first page does not count for the server
			all.Data, more = all.Data[:limit], true
		}
		if !more {
			return all, nil
		}
		if limit > 0 && len(all.Data) == limit {
			all.Pagination.HasMore = true
			s.note("There are more: use --limit.", "続きがあります。--limit で件数を指定してください。")
			return all, nil
		}
		page.Cursor = got.Pagination.Cursor
	}
}

// rows makes table rows; an empty list is noted.
func rows[T any](s *session, list []T, row func(T) []string) [][]string {
	if len(list) == 0 {
		s.note("There is nothing to show.", "表示するものはありません。")
	}
	all := make([][]string, 0, len(list))
	for _, v := range list {
		all = append(all, row(v))
	}
	return all
}
