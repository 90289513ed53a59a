package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

func (s *site) checkKeys(ctx context.Context, tenant *store.Tenant, repair bool, m *keysMeter) (keysAnswer, error) {
	beside, unlisted, err := s.keysBeside(ctx, tenant, m)
	if err != nil {
		return keysAnswer{}, err
	}
	rows, lines, err := s.keyRows(ctx, tenant)
	a := keysAnswer{Keys: lines}
	mended := 0
	m.begin(len(rows))
	for i, row := range rows {
		if err = cmp.Or(err, ctx.Err()); err != nil {
			break
		}
		m.done.Add(1)
		var wrong string
		if wrong, err = s.keys.Examine(ctx, row); err != nil || wrong == "" {
			continue
		}
		lines[i].State = wrong
		if !repair {
			a.Wrong++
			continue
		}
		if err := s.mendKey(ctx, row); err != nil {
			lines[i].State = fmt.Sprintf("%s; not mended: %v", wrong, err)
			a.Wrong++
			continue
		}
		lines[i].State = "mended: " + wrong
		mended++
	}
	if err != nil {
		return a, err
	}
	lone, err := s.eachLone(ctx, beside, rows, &a, func(key store.TenantKey) (string, error) { return s.keys.ExamineLone(ctx, key) })
	a.addUnlisted(unlisted)
	a.Summary = fmt.Sprintf("%d keys checked, %d mended, %d wrong%s", len(rows)+lone, mended, a.Wrong, ofThemLone(lone))
	return a, err
}

// keysBeside lists the keys of a tenant, nil meaning all, that lie beside the objects. It comes before keyRows: a key that is made meanwhile has
// its row then. unlisted says that there may be more.
func (s *site) keysBeside(ctx context.Context, tenant *store.Tenant, m *keysMeter) (beside []store.TenantKey, unlisted, err error) {
	var of store.TenantID
	if tenant != nil {
		of = tenant.ID
	}
	beside, err = s.keys.Beside(ctx, of, func() { m.listed.Add(1) })
	if _, is := errors.AsType[*blob.UnlistedError](err); is {
		return beside, err, nil
	}
	return beside, nil, err
}

// eachLone does an act with each key that lies beside the objects and has no row, and adds a line for each. do says what is wrong with it.
// n is how many there are.
func (s *site) eachLone(
	ctx context.Context, beside, rows []store.TenantKey, a *keysAnswer, do func(store.TenantKey) (wrong string, err error),
) (n int, err error) {
	names, err := s.store.TenantNames(ctx)
	if err != nil {
		return 0, err
	}
	type name struct {
		tenant store.TenantID
		id     string
	}
	known := map[name]bool{}
	for _, row := range rows {
		known[name{row.Tenant, row.ID}] = true
	}
	for _, key := range beside {
		if known[name{key.Tenant, key.ID}] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return n, err
		}
		wrong, err := do(key)
		if err != nil {
			return n, err
		}
		n++
		line := keyLine{Tenant: names[key.Tenant], TenantID: string(key.Tenant), ID: key.ID, Created: key.Created, State: "without a row in the database"}
		if wrong != "" {
			line.State += ": " + wrong
			a.Wrong++
		}
		a.Keys = append(a.Keys, line)
	}
	return n, nil
}

// addUnlisted adds a line for keys that may be there and were not seen.
func (a *keysAnswer) addUnlisted(err error) {
	if err != nil {
		a.Keys = append(a.Keys, keyLine{Tenant: "?", ID: "?", State: err.Error()})
		a.Wrong++
	}
}

func ofThemLone(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %d of them beside the objects alone, without a row in the database", n)
}

// mendKey mends a key, and looks whether that helped.
func (s *site) mendKey(ctx context.Context, old store.TenantKey) error {
	if err := s.keys.Mend(ctx, old); err != nil {
		return err
	}
	rows, err := s.store.TenantKeys(ctx, old.Tenant)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if row.ID != old.ID {
			continue
		}
		if wrong, err := s.keys.Examine(ctx, row); err != nil || wrong != "" {
			return cmp.Or(err, errors.New(wrong))
		}
	}
	return nil
}

func (s *site) rewrapKeys(ctx context.Context, who auth.Principal, tenant *store.Tenant, m *keysMeter) (keysAnswer, error) {
	if err := s.keys.NoteOperator(ctx); err != nil { // first: what is made to others after this is refused
		return keysAnswer{}, err
	}
	beside, unlisted, err := s.keysBeside(ctx, tenant, m)
	if err != nil {
		return keysAnswer{}, err
	}
	rows, lines, err := s.keyRows(ctx, tenant)
	if err != nil {
		return keysAnswer{}, err
	}
	a, done, left := keysAnswer{Keys: lines}, 0, 0
	audit := func(key store.TenantKey) store.Beside {
		return auditKey(who, key.Tenant, "encryption_key.rewrap", key.ID)
	}
	m.begin(len(rows))
	for i, row := range rows {
		if err := ctx.Err(); err != nil {
			return a, err
		}
		m.done.Add(1)
		if !row.Destroyed.IsZero() {
			continue
		}
		if is, err := s.keys.IsRewrapped(ctx, row); err == nil && is {
			left++
			continue
		}
		if err := s.keys.Rewrap(ctx, row, audit(row)); err != nil {
			lines[i].State = err.Error()
			a.Wrong++
			continue
		}
		done++
	}
	lone, err := s.eachLone(ctx, beside, rows, &a, func(key store.TenantKey) (string, error) {
		written, err := s.keys.RewrapLone(ctx, key, audit(key))
		if err != nil {
			return err.Error(), nil //nolint:nilerr // told in its line, and counted; the others are done
		}
		done++
		if written {
			return "", nil
		}
		return "", s.store.Audit(context.WithoutCancel(ctx), *audit(key).Audit) // without a row there is no transaction
	})
	a.addUnlisted(unlisted)
	a.Summary = fmt.Sprintf("%d keys encrypted anew, %d failed%s%s", done, a.Wrong, ofThemLone(lone), nothingToDo(left))
	return a, err
}

func nothingToDo(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; nothing to do for %d", n)
}
