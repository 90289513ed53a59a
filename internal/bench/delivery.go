package main

import (
	"context"
	"fmt"

	"github.com/mairust/mairust/store/sqldb"
)

// goal is what a load must reach beside Dovecot, as multiples of it; 0 is no goal.
type goal struct {
	// rate is the least, best is what is hoped for.
	rate, best float64
	// cpu and p99 are the most.
	cpu, p99 float64
}

// deliveryLoads are those that Dovecot gets too.
var deliveryLoads = []load{
	{connections: 32, size: 4 << 10, goal: goal{rate: 3, best: 5, cpu: 0.25, p99: 0.25}},
	{connections: 1, size: 4 << 10, goal: goal{rate: 2}},
	{connections: 32, size: 4 << 10, reconnect: true, goal: goal{rate: 4}},
	{connections: 32, size: 50 << 10, goal: goal{rate: 3}},
	{connections: 8, size: 1 << 20, goal: goal{rate: 1.3}},
}

// delivery measures LMTP beside Dovecot: every load, the servers in turn, as often as asked for.
func delivery(b *bench) *part {
	var loads []load
	for _, l := range deliveryLoads {
		if b.loads.MatchString(l.String()) {
			loads = append(loads, l)
		}
	}
	kinds := only([]kind{dovecot, mairust(b.mairust, sqldb.SQLite), mairust(b.mairust, sqldb.Postgres)}, b.servers)
	return &part{name: "delivery", steps: len(loads) * len(kinds) * b.repeat, run: func(ctx context.Context) (*table, error) {
		t := deliveryTable()
		for _, l := range loads {
			runs, err := b.inTurn(ctx, l.String(), kinds, func(ctx context.Context, k kind) (figures, error) { return b.measure(ctx, k, l) })
			if err != nil {
				return nil, err
			}
			addLoad(t, l, kinds, runs)
		}
		return t, nil
	}}
}

func deliveryTable() *table {
	return &table{columns: []string{"load", "server", "msg/s", "CPU µs/msg", "of it database", "p50 ms", "p99 ms", "sender's CPU",
		"× rate", "× CPU", "× p99", "goal"}}
}

// addLoad adds a row for each server; the ratios are to the first when that is Dovecot.
func addLoad(t *table, l load, kinds []kind, runs [][]figures) {
	peer := median(runs[0])
	for i, k := range kinds {
		f := median(runs[i])
		if f.rate == 0 {
			continue // left out
		}
		row := []string{l.String(), k.name, fmt.Sprintf("%.0f", f.rate), fmt.Sprintf("%.0f", f.allCPU()), fmt.Sprintf("%.0f", f.database),
			fmt.Sprintf("%.2f", f.p50), fmt.Sprintf("%.2f", f.p99), fmt.Sprintf("%.0f", f.own)}
		if i > 0 && kinds[0].name == dovecot.name && peer.rate > 0 {
			rate, cpu, p99 := f.rate/peer.rate, f.allCPU()/peer.allCPU(), f.p99/peer.p99
			row = append(row, fmt.Sprintf("%.2f", rate), fmt.Sprintf("%.2f", cpu), fmt.Sprintf("%.2f", p99), l.goal.judge(rate, cpu, p99))
		}
		t.add(row...)
	}
}

// judge says for each goal whether it is met.
func (g goal) judge(rate, cpu, p99 float64) string {
	said := verdict(fmt.Sprintf("≥ %g×", g.rate), rate >= g.rate)
	if g.best > 0 {
		said += ", " + verdict(fmt.Sprintf("≥ %g×", g.best), rate >= g.best)
	}
	if g.cpu > 0 {
		said += ", " + verdict(fmt.Sprintf("CPU ≤ %g", g.cpu), cpu <= g.cpu)
	}
	if g.p99 > 0 {
		said += ", " + verdict(fmt.Sprintf("p99 ≤ %g", g.p99), p99 <= g.p99)
	}
	return said
}

func verdict(goal string, met bool) string {
	if met {
		return goal + " met"
	}
	return goal + " **missed**"
}
