package outbound

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// bounceWindow is how far from its bounce a message is looked for: Postfix gives up after five days, and short queue ids come
// again sooner or later.
const bounceWindow = 6 * 24 * time.Hour

// bounceSkew is how much the clocks of Postfix's host and ours may differ.
const bounceSkew = time.Hour

// Bounce tells of a failed delivery: Postfix on host gave up, at that time, to deliver the message of this queue id to rcpt, with
// this enhanced status code. Only 5.1.x counts. ErrNotFound of package store when nobody is known to have sent it.
func (g *Gate) Bounce(ctx context.Context, host, queueID string, at time.Time, dsn, rcpt string) error {
	return g.BounceOf(ctx, host, queueID, at, dsn, g.recipient(mail.ReadPath(rcpt)))
}

// BounceOf is Bounce for who has only the keyed hash of the recipient.
func (g *Gate) BounceOf(ctx context.Context, host, queueID string, at time.Time, dsn string, rcptHash uint64) error {
	if !strings.HasPrefix(dsn, "5.1.") {
		return nil
	}
	m, err := g.senderOf(ctx, host, queueID, at)
	if err != nil {
		return err
	}
	client, _ := netip.ParseAddr(m.client)
	o := g.decide(ctx, m.sender, policy.Event{
		Kind: policy.KindBounce, DSN: dsn, Recipients: []uint64{rcptHash}, Place: g.placeOf(client),
		QueueHost: host, QueueID: queueID,
	})
	g.writeActs(m.sender, &o)
	row := g.row(m.sender, kindBounce, &o)
	row.QueueHost, row.QueueID, row.Client, row.Bounced = host, queueID, m.client, 1
	row.Event = o.record(nil)
	g.keep(m.sender, &o, row)
	return nil
}

// senderOf finds who sent a message.
func (g *Gate) senderOf(ctx context.Context, host, queueID string, at time.Time) (*sent, error) {
	from, to := at.Add(-bounceWindow), at.Add(bounceSkew)
	if m := g.recent.find(host, queueID, from, to); m != nil {
		return m, nil
	}
	db := g.store.Load()
	if db == nil {
		return nil, fmt.Errorf("sender of %s: %w", queueID, store.ErrUnavailable)
	}
	row, err := db.OutboundSender(ctx, host, queueID, from, to)
	if err != nil {
		if !errors.Is(err, store.ErrNotFound) {
			g.answered("bounce", err)
		}
		return nil, fmt.Errorf("sender of %s: %w", queueID, err)
	}
	return &sent{host: host, queueID: queueID, client: row.Client, sender: sender{policy.Account(row.Account), row.Tenant}}, nil
}
