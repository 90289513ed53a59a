package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/move"
	"github.com/mairust/mairust/store/blob/s3"
	"github.com/mairust/mairust/store/fsck"
)

// objects is an object store that is open.
type objects interface {
	blob.Bucket
	blob.Replacer
	io.Closer
}

// openObjects opens the store that the configuration names, together with the one before it while that is being left: then directories are
// missing in the new one.
func openObjects(ctx context.Context, c *config.Config, o openOptions, has *store.Store) (objects, error) {
	log := o.log.With("component", "storage")
	mayMake := func(ctx context.Context, dir string) error { return mayMake(ctx, has, dir) }
	if c.Storage.Previous != nil {
		mayMake = nil
	}
	to, err := openBackend(ctx, c.Storage.Backend, c.Storage.Options, log, o.registerer, mayMake)
	if err != nil || c.Storage.Previous == nil {
		return to, err
	}
	from, err := openPrevious(ctx, c, log)
	if err != nil {
		return nil, errors.Join(err, to.Close())
	}
	both := move.New(to, from)
	both.ReadNewest(fsck.Witness, fsck.IsLaterWitness)
	both.ReplaceInBoth(fsck.IsTenantKey)
	return both, nil
}

// openPrevious opens the store that is being left. Its metrics would be taken for the other's.
func openPrevious(ctx context.Context, c *config.Config, log *slog.Logger) (objects, error) {
	p := c.Storage.Previous
	from, err := openBackend(ctx, p.Backend, p.Options, log, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("storage.previous: %w", err)
	}
	return from, nil
}

// mayMake is nil unless dir is the directory of a mailbox that has messages: they must be in it. Its disk, or that of the tenant, is not mounted, or
// is being put back from a backup, and what is stored meanwhile would be hidden.
func mayMake(ctx context.Context, has *store.Store, dir string) error {
	_, mailbox, _ := strings.Cut(dir, "/")
	if mailbox == "" || strings.Contains(mailbox, "/") {
		return nil
	}
	n, err := has.MessagesOf(ctx, store.MailboxID(mailbox))
	if n > 0 {
		err = fmt.Errorf("the mailbox has %d messages: mount its disk, or put it back; if it is gone for good, run mairust fsck --repair", n)
	}
	return err
}

func openBackend(ctx context.Context, backend string, o config.StorageOptions, log *slog.Logger, r prometheus.Registerer,
	mayMake func(ctx context.Context, dir string) error,
) (objects, error) {
	if backend != config.BackendS3 {
		f, err := blob.NewFS(o.BasePath, blob.FSOptions{WithoutJournal: o.Journal == "off", MayMake: mayMake, Log: log, Registerer: r})
		if err != nil {
			return nil, err
		}
		return f, nil
	}
	options := o.S3 // with its Encryption, which the configuration has set
	options.Log, options.Registerer = log, r
	b, err := s3.New(ctx, options)
	if err != nil {
		return nil, err
	}
	return b, nil
}
