package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/s3"
)

// storage tries what the store of the configuration is used for.
func (r *checkReport) storage(ctx context.Context, c *config.Config) {
	r.store(ctx, "storage", c.Storage.Backend, c.Storage.Options)
}

// previous does so for the store that is being left, if there is one.
func (r *checkReport) previous(ctx context.Context, c *config.Config) {
	p := c.Storage.Previous
	if p == nil {
		return
	}
	r.store(ctx, "previous", p.Backend, p.Options)
	r.warn("previous", "objects are still read from the store before",
		"mairust migrate-storage --to "+cmp.Or(c.Storage.Backend, config.BackendFS)+"; when it has copied everything, remove storage.previous and restart")
}

func (r *checkReport) store(ctx context.Context, what, backend string, o config.StorageOptions) {
	if backend == config.BackendS3 {
		r.bucket(ctx, what, o.S3)
		return
	}
	path := o.BasePath
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		r.warn(what, path+" does not exist yet", "the first mairust run makes it")
		return
	}
	objects, err := blob.NewFS(path, blob.FSOptions{})
	if err == nil {
		err = errors.Join(objects.Check(ctx), objects.Close())
	}
	if err != nil {
		r.fail(what, err, "make space, or give "+path+" to the user of the service")
		return
	}
	r.pass(what, path+": an object was written, made durable and removed")
}

// bucketPatience leaves time for the other checks when a server does not answer.
const bucketPatience = 30 * time.Second

// bucket prints what was found of each operation.
func (r *checkReport) bucket(ctx context.Context, what string, o s3.Options) {
	ctx, cancel := context.WithTimeout(ctx, bucketPatience)
	defer cancel()
	o.Log = slog.New(slog.DiscardHandler)
	b, err := s3.New(ctx, o)
	if err != nil {
		r.fail(what, err, "mend the section storage of the configuration")
		return
	}
	defer b.Close() //nolint:errcheck // only idle connections
	for _, p := range b.Prove(ctx) {
		switch {
		case p.Err != nil:
			r.fail(what, errors.New(b.String()+": "+p.What+": "+p.Err.Error()), p.Mend)
		case p.Lacks != "":
			r.warn(what, b.String()+": "+p.Lacks, p.Mend)
		default:
			r.pass(what, b.String()+": "+p.What)
		}
	}
}
