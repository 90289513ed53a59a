package fsck

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// ErrNotEmpty says that an index can be rebuilt in an empty database only.
var ErrNotEmpty = errors.New("the database has mailboxes or messages: --rebuild is for an empty, migrated one (--repair mends one that is not)")

// rebuilding is why nothing may be removed while a rebuild is under way, and how one that was interrupted is known.
const rebuilding = "a rebuild of the index was begun and has not ended"

// check is one under way.
type check struct {
	*settler
	Request
	tell func(Event)
	// minAge is that of the request or of the options.
	minAge time.Duration
	// youngToo says that young objects without a row are adopted too: the database has lost some, or all.
	youngToo bool
	// inDoubt says that the database is another one than the objects belong to, was set back, or is made anew: they may know more.
	inDoubt bool
	// noMarks says that damage is not noted: the objects may not be those that belong to the database.
	noMarks bool
	// readUpTo is the last message that an earlier run has read; empty when all are to be read, or none.
	readUpTo store.MessageID
	totals   store.Totals
	limit    *limiter

	// unlisted is what could not be listed; nil when all was.
	unlisted *blob.UnlistedError

	// unreadMessage says that an object could not be read, and may be there all the same.
	unreadMessage atomic.Bool

	// The lock of tallies guards what follows.
	tallies sync.Mutex
	tenants []store.TenantID
	// lacking are tenants that have described aliases no more, and cannot get them again.
	lacking map[store.TenantID]bool
	// unread says of which tenants a description, their own or that of a mailbox, could not be read, and may be another time; unreadBy is the first error.
	unread   map[store.TenantID]bool
	unreadBy error
	report   Report
	progress meter
}

// Check does what mairust fsck does: it compares objects and index in both directions, and mends if asked to. tell gets
// each problem, and how far the work has come, one after the other. When ctx ends it stops at a safe place, and the
// report says so: every act may be repeated. ErrNotEmpty, ErrBusy, or a fault of the database or the object store.
func (f *Fsck) Check(ctx context.Context, r Request, tell func(Event)) (Report, error) {
	c := &check{
		settler: f.newSettler(), Request: r, tell: tell, minAge: f.options.MinAge, limit: newLimiter(r.BytesPerSecond),
		report: Report{Kinds: map[string]Tally{}}, unread: map[store.TenantID]bool{}, lacking: map[store.TenantID]bool{},
	}
	if r.MinAge >= 0 {
		c.minAge = r.MinAge
	}
	began := time.Now()
	var err error
	if r.mends() {
		err = f.exclusively(blob.MakingAll(ctx), patience, c.run) // what is gone is gone for good, says who repairs
	} else {
		err = c.run(ctx)
	}
	if err != nil && ctx.Err() != nil {
		c.report.Interrupted, err = true, nil
	}
	c.report.Took = time.Since(began)
	return c.report, err
}

func (c *check) run(ctx context.Context) error {
	accept, err := c.database(ctx)
	if err != nil {
		return err
	}
	if c.totals, err = c.store.Totals(ctx); err != nil {
		return err
	}
	for _, phase := range []func(context.Context) error{c.checkObjects, c.checkTenants, c.checkMessages, c.checkCounters, c.checkDescriptions} {
		if err := phase(ctx); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return accept(ctx)
}

// notAccepted says why the database is not accepted though all else was mended; empty when it is. It lacks what was described and could not
// be made, or may lack what could not be read: mail for that would be refused.
func (c *check) notAccepted() string {
	switch {
	case c.unlisted != nil && c.inDoubt:
		return "the sweep stays stopped: not all could be listed, and the database may lack what is described there; make readable or take away what cannot be read, and run it again"
	case c.nowhere > 0 && c.inDoubt:
		return fmt.Sprintf("the sweep stays stopped: %d addresses are described and cannot be made again, and mail for them would be refused; begin with an empty database "+
			"and make nothing in it before --rebuild, or make their mailboxes or aliases (mairust init --mailbox, mairustctl alias), which leaves their old mail aside, and run it again "+
			"(the first: %s)", c.nowhere, c.nowhereBy)
	case len(c.unread) == 0:
		return ""
	}
	return fmt.Sprintf("the sweep stays stopped: descriptions of %d tenants cannot be read, and the database may lack mailboxes and addresses; give the operator's identity "+
		"(storage.encryption.operator_identity), or move away what nobody can read any more, and run it again (the first error: %v)", len(c.unread), c.unreadBy)
}

// noteUnread notes that a description, of a tenant or of one of its mailboxes, could not be read, or what it describes could not be made. It returns an error
// that ends all work.
func (c *check) noteUnread(ctx context.Context, key string, tenant store.TenantID, err error) error {
	if ends := c.giveUp(ctx, key, err); ends != nil || isLost(err) {
		return ends
	}
	c.tallies.Lock()
	defer c.tallies.Unlock()
	c.unread[tenant] = true
	if c.unreadBy == nil {
		c.unreadBy = err
	}
	return nil
}

// database compares database and object store first. accept ends a repair.
func (c *check) database(ctx context.Context) (accept func(context.Context) error, err error) {
	if c.Rebuild {
		if err := c.beginRebuild(ctx); err != nil {
			return nil, err
		}
	}
	w, st, err := c.readBoth(ctx)
	if err != nil {
		return nil, err
	}
	c.Rebuild = c.Rebuild || c.mends() && st.Stopped == rebuilding // one that was broken off goes on, whatever it is called now
	reason, had := w.contradicts(st), w.discord(st)
	if reason != "" && c.mends() {
		if err := c.renewFolders(ctx, w, st); err != nil {
			return nil, err
		}
	}
	// What belongs to no mailbox may belong to one that this database does not know.
	c.keepStrangers = reason != "" || c.Rebuild
	c.inDoubt = reason != "" && !w.isBehind(st) || c.Rebuild
	c.aliasesLater = c.inDoubt
	c.noMarks = w.mayHide(st) && !c.mends()
	if reason == "" {
		reason = st.Stopped
	}
	c.youngToo = reason != "" && c.mends()
	nothing := func(context.Context) error { return nil }
	switch {
	case reason == "":
		return nothing, nil
	case !c.mends():
		c.found(Problem{Kind: KindDatabase, What: reason})
		return nothing, nil
	}
	return func(ctx context.Context) error {
		if why := c.notAccepted(); why != "" {
			c.found(Problem{Kind: KindDatabase, What: reason, Done: why})
			return nil
		}
		if err := c.accept(ctx, had, c.keptForGood()); err != nil {
			return err
		}
		c.found(Problem{Kind: KindDatabase, What: reason, Mended: true, Done: "the objects belong to this database now, and the sweep goes on"})
		return nil
	}, nil
}

func (c *check) beginRebuild(ctx context.Context) error {
	st, err := c.store.SweepState(ctx)
	if err != nil || st.Stopped == rebuilding {
		return err
	}
	has, err := c.store.HasMessages(ctx)
	if err != nil {
		return err
	}
	totals, err := c.store.Totals(ctx)
	switch {
	case err != nil:
		return err
	case has || totals.Mailboxes > 0:
		return ErrNotEmpty
	case c.mends():
		err = c.store.StopSweepFor(ctx, rebuilding)
		c.sure.forget()
	}
	return err
}

// found counts and tells a problem.
func (c *check) found(p Problem) {
	c.tallies.Lock()
	defer c.tallies.Unlock()
	t := c.report.Kinds[p.Kind]
	t.Found++
	c.report.Found++
	if p.Mended {
		t.Mended++
		c.report.Mended++
	} else {
		c.report.Left++
	}
	c.report.Kinds[p.Kind] = t
	c.tell(Event{Problem: &p})
}

// checkObjects goes from the objects to the index.
func (c *check) checkObjects(ctx context.Context) error {
	c.begin("objects", c.totals.Messages, 0)
	young, err := c.walk(ctx, c.minAge, c.youngToo, func(batch []object) error {
		c.advance(int64(len(batch)), 0)
		c.tallies.Lock()
		c.report.Objects += int64(len(batch))
		c.tallies.Unlock()
		return inParallel(ctx, batch, c.checkObject)
	})
	c.report.Young = young
	err = c.foundUnlisted(err)
	if err == nil && c.mends() {
		_, err = c.tidyUp(ctx, c.now().Add(-max(c.minAge, c.options.MinAge))) // deliveries under way have uploads that are no objects yet
	}
	return err
}

func (c *check) checkObject(ctx context.Context, o object) error {
	switch {
	case o.kind == description:
		return c.checkMailbox(ctx, o)
	case o.kind == nested:
		c.found(Problem{Kind: KindOrphan, Key: o.Key, What: "it looks like an object of another installation below this one, and is left alone; give each a prefix or base_path of its own"})
		return nil
	case o.kind == aside:
		c.tallies.Lock()
		defer c.tallies.Unlock()
		c.report.Aside++
		return nil
	case o.kind == tenantFile:
		c.tallies.Lock()
		defer c.tallies.Unlock()
		c.tenants = append(c.tenants, o.tenant)
		return nil
	case o.stale:
		return c.checkStale(ctx, o)
	case !o.isOrphan():
		return nil
	case !c.mends():
		p := Problem{Kind: KindOrphan, Key: o.Key, Message: string(o.message), Mailbox: string(o.mailbox), What: "no row speaks of the object"}
		c.found(p)
		return nil
	}
	done, why, err := c.settle(ctx, o)
	if err := c.giveUp(ctx, o.Key, err); err != nil || done == indexed {
		return err
	}
	p := Problem{Kind: KindOrphan, Key: o.Key, Message: string(o.message), Mailbox: string(o.mailbox), What: "no row speaks of the object"}
	p.Mended = done == adopted || done == duplicate || done == mended || done == moved
	p.Done = string(done)
	if why != "" {
		p.Done += ": " + why
	}
	if err != nil {
		p.Done += ": " + err.Error()
	}
	c.found(p)
	return nil
}

// checkStale tells of a copy of an attachment that belongs to nothing any more.
func (c *check) checkStale(ctx context.Context, o object) error {
	p := Problem{
		Kind: KindCopy, Key: o.Key, Message: string(o.message), Mailbox: string(o.mailbox),
		What: "a copy of an attachment whose message is gone, or that the index does not know",
	}
	if c.mends() && !o.young {
		switch err := c.objects.Delete(ctx, o.Key); {
		case err == nil:
			p.Mended, p.Done = true, "removed; it is made again when it is asked for"
		case endsAll(ctx, err):
			return fmt.Errorf("remove copy of an attachment: %w", err)
		default:
			p.Done = "not removed: " + err.Error()
		}
	}
	c.found(p)
	return c.step("stale copy removed")
}

// checkMailbox looks whether a description has a mailbox.
func (c *check) checkMailbox(ctx context.Context, o object) error {
	_, err := c.store.MailboxDescription(ctx, o.mailbox)
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	p := Problem{Kind: KindMailbox, Key: o.Key, Mailbox: string(o.mailbox), What: "the mailbox is described, but not in the database"}
	if c.mends() {
		d, why, err := c.restore(ctx, o.place)
		switch {
		case err != nil:
			if err := c.noteUnread(ctx, o.Key, o.tenant, err); err != nil {
				return err
			}
			p.Done = err.Error()
		case why != "" || d == nil:
			p.Done = why
		default:
			p.Mended, p.Done = true, "made again: "+d.Address
		}
	}
	c.found(p)
	return nil
}

const (
	// countersPage is how many counters are compared in one query, at most.
	countersPage = 32
	// slowPage is how long a query may take before the next one compares half as many.
	slowPage = 10 * time.Second
)

func (c *check) checkCounters(ctx context.Context) error {
	c.begin("counters", 6*c.totals.Mailboxes, 0)
	for _, noun := range store.CountedNouns() {
		limit := countersPage
		for after := ""; ; {
			began := time.Now()
			page, err := c.store.CountersAfter(ctx, noun, after, limit)
			took := time.Since(began)
			if err != nil {
				return fmt.Errorf("count %ss: %w", noun, err)
			}
			for _, m := range page.Bad {
				if err := c.mendCounters(ctx, m); err != nil {
					return err
				}
			}
			c.advance(int64(page.Seen), 0)
			if page.Seen < limit {
				break
			}
			switch after = page.Last; {
			case took > slowPage:
				limit = max(limit/2, 1)
			case took < slowPage/4:
				limit = min(2*limit, countersPage)
			}
		}
	}
	return nil
}

func (c *check) mendCounters(ctx context.Context, m store.Miscount) error {
	p := Problem{Kind: KindCounters, What: fmt.Sprintf("%s %s: counters are %d and should be %d", m.Noun, m.Name, m.Has, m.Want)}
	if m.Noun == "mailbox" {
		p.Mailbox = m.ID
	}
	if c.mends() {
		if err := c.store.MendCounters(ctx, holderOf(ctx), m); err != nil {
			return fmt.Errorf("mend counters of %s %s: %w", m.Noun, m.Name, err)
		}
		if err := c.step("counters mended"); err != nil {
			return err
		}
		p.Mended, p.Done = true, "put right"
	}
	c.found(p)
	return nil
}

func (c *check) checkDescriptions(ctx context.Context) error {
	if c.unlisted != nil && c.inDoubt {
		return nil // what was not listed may be read by its key all the same: it is not written over
	}
	c.begin("descriptions", c.totals.Mailboxes, 0)
	failed := undescribed{f: c.Fsck}
	if err := c.eachTenant(ctx, func(t store.Tenant) error { return c.checkTenantFile(ctx, &failed, t) }); err != nil {
		return err
	}
	return c.eachMailbox(ctx, func(d store.MailboxDescription) error {
		c.advance(1, 0)
		differs, err := c.describe(ctx, d, false)
		if c.mends() && (differs || isKeyLost(err)) {
			differs, err = c.describe(ctx, d, true)
		}
		if err != nil && !isKeyLost(err) {
			return c.leaveUndescribed(ctx, &failed, err, descriptionKey(d), d.Mailbox)
		}
		if !differs || c.now().Sub(d.Created) < describeEvery+overlap || c.hasRenewed(d.Mailbox) {
			return nil // a new mailbox is described soon, and this repair has changed others
		}
		p := Problem{Kind: KindDescription, Key: descriptionKey(d), Mailbox: string(d.Mailbox), What: "the description of " + d.Address + " is missing or old"}
		if p.Mended = c.mends(); p.Mended {
			p.Done = "written"
		}
		c.found(p)
		return c.step("described")
	})
}

// leaveUndescribed tells of a description that could not be read or written.
func (c *check) leaveUndescribed(ctx context.Context, failed *undescribed, err error, key string, mailbox store.MailboxID) error {
	if err := failed.pass(ctx, err); err != nil {
		return err
	}
	c.found(Problem{Kind: KindDescription, Key: key, Mailbox: string(mailbox), What: "the description cannot be read or written: " + err.Error()})
	return nil
}

func (c *check) checkTenantFile(ctx context.Context, failed *undescribed, t store.Tenant) error {
	if c.unread[t.ID] || c.lacking[t.ID] {
		return nil // it says more than the database, or may: it is not written over
	}
	differs, err := c.describeTenant(ctx, t.ID, false)
	if c.mends() && (differs || isKeyLost(err)) {
		differs, err = c.describeTenant(ctx, t.ID, true)
	}
	if err != nil && !isKeyLost(err) {
		return c.leaveUndescribed(ctx, failed, err, tenantKey(t.ID), "")
	}
	if !differs || c.now().Sub(t.Created) < describeEvery+overlap || c.inDoubt {
		return nil
	}
	p := Problem{Kind: KindDescription, Key: tenantKey(t.ID), What: "the description of the tenant " + t.Name + " is missing or old"}
	if p.Mended = c.mends(); p.Mended {
		p.Done = "written"
	}
	c.found(p)
	return c.step("tenant described")
}
