package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/api/client"
)

// completeTime bounds how long a key press waits for the server.
const completeTime = 2 * time.Second

// completeAccount completes the name of an account from those that the server knows. When it does not answer, nothing is offered.
func completeAccount(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	s, err := connect(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(context.Background(), completeTime)
	defer cancel()
	list, err := s.OutboundAccounts(ctx, client.AccountFilter{Prefix: begun}, client.Page{Limit: 50})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := make([]string, 0, len(list.Data))
	for _, a := range list.Data {
		names = append(names, clean(a.Account))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
