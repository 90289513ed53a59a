package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/store/sqldb"
)

// office is where on-host commands have their acts done: in this process, or in the daemon that has the
// SQLite database open.
type office interface {
	Setup(ctx context.Context, p auth.Principal, want wire.Setup) (wire.SetupResult, error)
	CreateAPIKey(ctx context.Context, p auth.Principal, want wire.NewAPIKey) (wire.APIKeyCreated, error)
	CreateLoginLink(ctx context.Context, p auth.Principal, want wire.NewLoginLink) (wire.LoginLinkCreated, error)
}

// onHost is the principal of whoever runs a command on the host.
func onHost() auth.Principal { return auth.Socket(strconv.Itoa(os.Geteuid())) }

// withOffice opens an office, does an act in it, and closes it. progress takes what a person should know.
func withOffice(ctx context.Context, c *config.Config, progress io.Writer, act func(office) error) error {
	log := slog.New(slog.NewTextHandler(progress, &slog.HandlerOptions{Level: slog.LevelWarn}))
	site, err := openSite(ctx, c, openOptions{log: log})
	if errors.Is(err, sqldb.ErrLocked) {
		return act(newSocketClient(c.AdminSocket()))
	}
	if err != nil {
		return err
	}
	began := time.Now()
	err = act(admin.New(admin.Options{Store: site.store, RecipientDelimiter: recipientDelimiter(c)}))
	if describeErr := site.describe(ctx, began); describeErr != nil {
		log.Warn("mailboxes not described yet, the daemon will", "err", describeErr)
	}
	return errors.Join(err, site.Close())
}

// recipientDelimiter is empty when addresses have no detail part.
func recipientDelimiter(c *config.Config) string {
	return strings.TrimPrefix(c.LMTP.RecipientDelimiter, "none")
}

// describe writes the descriptions of mailboxes that were made since, and of tenants.
func (s *site) describe(ctx context.Context, since time.Time) error {
	f, err := s.fsck(slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	return errors.Join(f.DescribeSince(ctx, since), f.DescribeTenants(ctx))
}

// maxPasswordFile is more than any password has.
const maxPasswordFile = 4096

// readPassword reads the first line of a file; "-" is standard input, empty means that none is given.
func readPassword(path string, stdin io.Reader) (string, error) {
	var raw []byte
	var err error
	switch path {
	case "":
		return "", nil
	case "-":
		raw, err = io.ReadAll(io.LimitReader(stdin, maxPasswordFile))
	default:
		var f *os.File
		if f, err = os.Open(path); err == nil {
			raw, err = io.ReadAll(io.LimitReader(f, maxPasswordFile))
			err = errors.Join(err, f.Close())
		}
	}
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("read password: the first line of %s is empty", path)
	}
	return line, nil
}
