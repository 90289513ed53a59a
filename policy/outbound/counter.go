package outbound

import (
	"context"
	"sync"

	"github.com/mairust/mairust/policy"
)

// counters count the copies of domains and tenants in this process.
type counters struct {
	mu   sync.Mutex
	list map[string]*policy.Counter
}

// maxCounters bounds them: whoever makes a name of its own for each message must not take all memory. Beyond it, those without
// a count of the last hour go.
const maxCounters = 20_000

func newCounters() *counters { return &counters{list: map[string]*policy.Counter{}} }

func (c *counters) take(name string, nowUS, n int64) (before int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	counter := c.list[name]
	if counter == nil {
		if len(c.list) >= maxCounters {
			c.tidy(nowUS)
		}
		counter = &policy.Counter{}
		c.list[name] = counter
	}
	return counter.Take(nowUS, n)
}

func (c *counters) giveBack(name string, nowUS, takenUS, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if counter := c.list[name]; counter != nil {
		counter.GiveBack(nowUS, takenUS, n)
	}
}

func (c *counters) tidy(nowUS int64) {
	for name, counter := range c.list {
		if counter.Hour(nowUS) == 0 {
			delete(c.list, name)
		}
	}
	for name := range c.list {
		if len(c.list) < maxCounters {
			return
		}
		delete(c.list, name)
	}
}

// taken is what one recipient was counted as, to be given back.
type taken struct {
	nowUS          int64
	domain, tenant string // empty when it was not counted
	alone          bool   // in this process, because the shared counters were away
}

// take counts one copy for the domain and the tenant of a sender, and gives what they had before.
func (g *Gate) take(ctx context.Context, s sender) (policy.Scope, taken) {
	t := taken{nowUS: g.now().UnixMicro(), tenant: "t:" + string(s.tenant)}
	if d := s.account.Domain(); d != "" {
		t.domain = "d:" + string(s.tenant) + "/" + d
	}
	var scope policy.Scope
	if g.shared != nil {
		err := g.takeShared(ctx, t, &scope)
		if err == nil {
			return scope, t
		}
		t.alone = true
	}
	if t.domain != "" {
		scope.DomainHour = g.counters.take(t.domain, t.nowUS, 1)
	}
	scope.TenantHour = g.counters.take(t.tenant, t.nowUS, 1)
	return scope, t
}

func (g *Gate) takeShared(ctx context.Context, t taken, scope *policy.Scope) error {
	if t.domain == "" {
		before, err := g.shared.Take(ctx, t.nowUS, 1, t.tenant)
		if err == nil {
			scope.TenantHour = before[0]
		}
		return err
	}
	before, err := g.shared.Take(ctx, t.nowUS, 1, t.domain, t.tenant)
	if err == nil {
		scope.DomainHour, scope.TenantHour = before[0], before[1]
	}
	return err
}

// giveBack undoes take.
func (g *Gate) giveBack(ctx context.Context, t taken) {
	for _, name := range []string{t.domain, t.tenant} {
		switch {
		case name == "":
		case g.shared != nil && !t.alone:
			_ = g.shared.GiveBack(ctx, name, t.nowUS, 1) // if it is away, the hour ends it
		default:
			g.counters.giveBack(name, g.now().UnixMicro(), t.nowUS, 1)
		}
	}
}
