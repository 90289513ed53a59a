package main

import "github.com/spf13/cobra"

func demoCommand() *cobra.Command {
	return &cobra.Command{Use: "demo", Short: "Show all of it in a folder of its own", Args: cobra.NoArgs}
}
