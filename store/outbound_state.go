package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// The kinds of OutboundState.
const (
	StateOfAccount = "account"
	StateOfDomain  = "domain"
	StateOfTenant  = "tenant"
)

// OutboundState is what the engine remembers of one account, domain or tenant, opaque to the store.
type OutboundState struct {
	Tenant TenantID
	// Kind is one of the StateOf constants; Name is the account, the domain, or empty.
	Kind, Name string
	// Day is 0 for the latest state, else the day (days since 1970 UTC) whose events began with this state.
	Day int64
	// State has at most 16 KiB.
	State []byte
	// Revision is the LevelRevision of the account's row that the state knows of.
	Revision int64
	Updated  time.Time
}

// Day gives the number of the UTC day of a time, as states and daily sums are kept by.
func Day(t time.Time) int64 {
	us := micros(t)
	return (us - ((us%dayMicros)+dayMicros)%dayMicros) / dayMicros
}

const dayMicros = int64(24 * time.Hour / time.Microsecond)

var putOutboundStates = sqldb.Insert("outbound_states",
	sqldb.Text("tenant_id"), sqldb.Text("kind"), sqldb.Text("name"), sqldb.Integer("day"), sqldb.Bytes("state"), sqldb.Integer("revision"), sqldb.Integer("updated_us"),
).OnConflict(`ON CONFLICT (day, tenant_id, kind, name) DO UPDATE SET state = excluded.state, revision = excluded.revision, updated_us = excluded.updated_us
	WHERE outbound_states.updated_us <= excluded.updated_us`)

// SaveOutboundStates stores states, in several short transactions; an older one never replaces a newer one. After an
// error some may be stored; storing them again does no harm.
func (s *Store) SaveOutboundStates(ctx context.Context, states []OutboundState) error {
	states = slices.Clone(states)
	for i := range states {
		states[i].Name = cleanKey(states[i].Name)
		if n := len(states[i].State); n > maxState {
			return fmt.Errorf("state of %s has %d bytes, the most is %d", states[i].Name, n, maxState)
		}
	}
	// One order for all nodes, or they could wait for each other; each key once.
	slices.SortStableFunc(states, func(a, b OutboundState) int { return strings.Compare(a.key(), b.key()) })
	slices.Reverse(states)
	states = slices.CompactFunc(states, func(a, b OutboundState) bool { return a.key() == b.key() })
	slices.Reverse(states)
	for piece := range slices.Chunk(states, outboundBatch) {
		var values []any
		for _, st := range piece {
			state := st.State
			if state == nil {
				state = []byte{}
			}
			values = append(values, string(st.Tenant), st.Kind, st.Name, st.Day, state, st.Revision, micros(st.Updated))
		}
		err := s.write(ctx, func(_ context.Context, tx *sqldb.Tx) error {
			tx.QueueMany(putOutboundStates, values)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// GiveWayOutboundStates lets any state replace a latest one of after that time, and says how many there are: a clock was ahead
// when they were stored, and what is newer looks older.
func (s *Store) GiveWayOutboundStates(ctx context.Context, after time.Time) (int64, error) {
	const query = `UPDATE outbound_states SET updated_us = 0 WHERE (day, tenant_id, kind, name) IN (
		SELECT d.day, d.tenant_id, d.kind, d.name FROM outbound_states d WHERE d.day = 0 AND d.updated_us > $2 LIMIT $1)`
	return s.purgeAll(ctx, query, 1<<30, micros(after))
}

func (st *OutboundState) key() string {
	return fmt.Sprintf("%020d\x00%s\x00%s\x00%s", st.Day, st.Tenant, st.Kind, st.Name)
}

const selectOutboundStates = `SELECT tenant_id, kind, name, day, state, revision, updated_us FROM outbound_states WHERE `

// OutboundStates lists the states of a day (0: the latest ones) by tenant, kind and name: at most limit of those after
// the given one, of which only Tenant, Kind and Name count.
func (s *Store) OutboundStates(ctx context.Context, day int64, after OutboundState, limit int) ([]OutboundState, error) {
	const query = selectOutboundStates + `day = $1 AND (tenant_id, kind, name) > ($2, $3, $4) ORDER BY tenant_id, kind, name LIMIT $5`
	return s.outboundStates(ctx, query, day, string(after.Tenant), after.Kind, cleanKey(after.Name), limit)
}

// OutboundState reads one state of a day (0: the latest). ErrNotFound.
func (s *Store) OutboundState(ctx context.Context, tenant TenantID, kind, name string, day int64) (*OutboundState, error) {
	const query = selectOutboundStates + `day = $1 AND tenant_id = $2 AND kind = $3 AND name = $4`
	list, err := s.outboundStates(ctx, query, day, string(tenant), kind, cleanKey(name))
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

func (s *Store) outboundStates(ctx context.Context, query string, args ...any) ([]OutboundState, error) {
	var list []OutboundState
	err := s.each(ctx, query, args, func(scan sqldb.Scan) error {
		var st OutboundState
		var updated int64
		err := scan(&st.Tenant, &st.Kind, &st.Name, &st.Day, &st.State, &st.Revision, &updated)
		st.Updated = fromMicros(updated)
		list = append(list, st)
		return err
	})
	return list, err
}
