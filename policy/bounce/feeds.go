package bounce

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/mairust/mairust/store"
)

// FeedStore is what is known of feeds; it is package store's.
type FeedStore interface {
	BounceFeeds(ctx context.Context) ([]store.BounceFeed, error)
	SendingHosts(ctx context.Context, since time.Time) ([]string, error)
}

// Feeds knows which Postfix hosts have a feed that lives. Its methods may be called from many goroutines.
type Feeds struct {
	store FeedStore
	stale time.Duration
	now   func() time.Time

	mu     sync.Mutex // guards the rest
	asked  time.Time
	feeds  map[string]store.BounceFeed
	hosts  []string
	asking bool
}

const (
	// feedsEvery is how long what is known of feeds is good for.
	feedsEvery = 30 * time.Second
	// sentSince is how far back a host must have sent to be missed.
	sentSince = 15 * time.Minute
)

// NewFeeds makes Feeds, where a feed that was not heard of for as long as stale counts as none. now may be nil for
// time.Now.
func NewFeeds(s FeedStore, stale time.Duration, now func() time.Time) *Feeds {
	if now == nil {
		now = time.Now
	}
	return &Feeds{store: s, stale: Options{StaleAfter: stale}.WithDefaults().StaleAfter, now: now}
}

// Has says whether a host has a feed, by what was last known. Before anything is known it says yes.
func (f *Feeds) Has(host string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked.IsZero() || f.lives(host)
}

func (f *Feeds) lives(host string) bool {
	feed, ok := f.feeds[host]
	return ok && f.now().Sub(feed.Seen) < f.stale
}

// Refresh asks the database, at most every half a minute.
func (f *Feeds) Refresh(ctx context.Context) error {
	f.mu.Lock()
	fresh := f.asking || !f.asked.IsZero() && f.now().Sub(f.asked) < feedsEvery
	f.asking = f.asking || !fresh
	f.mu.Unlock()
	if fresh {
		return nil
	}
	feeds, err := f.store.BounceFeeds(ctx)
	var hosts []string
	if err == nil {
		hosts, err = f.store.SendingHosts(ctx, f.now().Add(-sentSince))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asking = false
	if err != nil {
		return err
	}
	f.feeds, f.hosts, f.asked = map[string]store.BounceFeed{}, hosts, f.now()
	for _, feed := range feeds {
		f.feeds[feed.Host] = feed
	}
	return nil
}

// Check says which hosts send mail of accounts and have no feed, or one that is late, for those who watch over the
// installation: "degraded: bounces".
func (f *Feeds) Check(ctx context.Context) error {
	if err := f.Refresh(ctx); err != nil {
		return nil // the database is a part of its own
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var without, late []string
	for _, host := range f.hosts {
		feed := f.feeds[host]
		switch {
		case !f.lives(host):
			without = append(without, host)
		case feed.Lag > lagAllowed:
			late = append(late, fmt.Sprintf("%s (%d bytes, %s)", host, feed.LagBytes, feed.Lag.Round(time.Second)))
		}
	}
	var errs []error
	if len(without) > 0 {
		errs = append(errs, fmt.Errorf("degraded: bounces: no feed from %s: set outbound.bounces, or run mairust bounces --follow there", strings.Join(without, ", ")))
	}
	if len(late) > 0 {
		errs = append(errs, fmt.Errorf("degraded: bounces: the log is read late on %s", strings.Join(late, ", ")))
	}
	return errors.Join(errs...)
}
