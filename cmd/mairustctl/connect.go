package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/api/client"
	"github.com/mairust/mairust/cmd/internal/command"
)

// defaultSocket is where the daemon has its admin socket when it runs as a service.
const defaultSocket = "/run/mairust/admin.sock"

func addGlobalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.String("url", "", "`URL` of the server, such as https://mail.example.jp; default: MAIRUST_URL, else the admin socket")
	f.String("api-key", "env:MAIRUST_API_KEY", "where the API key is: env:`NAME` or file:PATH; never the key itself")
	f.String("socket", "", "`PATH` of the admin socket; default: MAIRUST_SOCKET, else "+defaultSocket)
	f.String("ca-file", "", "`FILE` with certificates to trust beside those of the system, in PEM form")
	f.StringP("output", "o", "table", "`FORM` of the output: table or json")
	f.String("lang", "", "language of texts: `en` or ja; default: as LC_ALL, LC_MESSAGES or LANG say")
	f.Duration("timeout", 30*time.Second, "how long to wait for an answer (`DURATION`)")
}

// session is one call of a command: where to ask, and how to tell.
type session struct {
	*client.Client
	printer
}

// connect reads the global flags. It connects to nothing yet.
func connect(cmd *cobra.Command) (*session, error) {
	text := func(name string) string { return cmd.Flag(name).Value.String() }
	p, err := newPrinter(cmd, text("output"), text("lang"))
	if err != nil {
		return nil, command.Misuse(cmd, err)
	}
	timeout, err := cmd.Flags().GetDuration("timeout")
	if err != nil || timeout <= 0 {
		return nil, command.Misuse(cmd, errors.New("--timeout is more than 0, such as 30s"))
	}
	o := client.Options{
		URL: first(text("url"), os.Getenv("MAIRUST_URL")), Socket: first(text("socket"), os.Getenv("MAIRUST_SOCKET"), defaultSocket),
		Language: p.lang, Timeout: timeout, UserAgent: "mairustctl/" + buildVersion(),
	}
	if cmd.Flag("socket").Changed {
		if cmd.Flag("url").Changed {
			return nil, command.Misuse(cmd, errors.New("give --url or --socket, not both"))
		}
		o.URL = ""
	}
	if o.URL != "" {
		if err := addCredentials(&o, text("api-key"), text("ca-file")); err != nil {
			return nil, command.Misuse(cmd, err)
		}
	}
	c, err := client.New(o)
	if err != nil {
		return nil, command.Misuse(cmd, err)
	}
	return &session{Client: c, printer: p}, nil
}

func addCredentials(o *client.Options, key, caFile string) error {
	var err error
	if o.Key, err = readSecret(key); err != nil {
		return err
	}
	if caFile != "" {
		if o.CA, err = os.ReadFile(caFile); err != nil {
			return fmt.Errorf("--ca-file: %w", err)
		}
	}
	return nil
}

// readSecret reads an API key from where it is. Its errors never hold it.
func readSecret(where string) (string, error) {
	kind, name, _ := strings.Cut(where, ":")
	var key string
	switch kind {
	case "env":
		key = os.Getenv(name)
		if key == "" {
			return "", fmt.Errorf("--url needs an API key, and the environment variable %s is empty: set it, or give --api-key file:PATH", name)
		}
	case "file":
		raw, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("--api-key: %w", err)
		}
		key = string(raw)
	default:
		return "", errors.New("--api-key takes env:NAME or file:PATH; a key on the command line could be read by others")
	}
	key = strings.TrimSpace(key)
	if key == "" || strings.ContainsAny(key, " \t\r\n") {
		return "", errors.New("--api-key: what is there is no API key: one word such as mk_live_…")
	}
	return key, nil
}

func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
