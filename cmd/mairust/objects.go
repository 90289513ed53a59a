package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/internal/config"
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

// openObjects opens the store that the configuration names, together with the one before it while that is being left.
func openObjects(ctx context.Context, c *config.Config, o openOptions) (objects, error) {
	log := o.log.With("component", "storage")
	to, err := openBackend(ctx, c.Storage.Backend, c.Storage.Options, log, o.registerer)
	if err != nil || c.Storage.Previous == nil {
		return to, err
	}
	from, err := openPrevious(ctx, c, log)
	if err != nil {
		return nil, errors.Join(err, to.Close())
	}
	both := move.New(to, from)
	both.ReadNewest(fsck.Witness, fsck.IsLaterWitness)
	return both, nil
}

// openPrevious opens the store that is being left. Its metrics would be taken for the other's.
func openPrevious(ctx context.Context, c *config.Config, log *slog.Logger) (objects, error) {
	p := c.Storage.Previous
	from, err := openBackend(ctx, p.Backend, p.Options, log, nil)
	if err != nil {
		return nil, fmt.Errorf("storage.previous: %w", err)
	}
	return from, nil
}

func openBackend(ctx context.Context, backend string, o config.StorageOptions, log *slog.Logger, r prometheus.Registerer) (objects, error) {
	if backend != config.BackendS3 {
		f, err := blob.NewFS(o.BasePath, blob.FSOptions{WithoutJournal: o.Journal == "off", Log: log, Registerer: r})
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
