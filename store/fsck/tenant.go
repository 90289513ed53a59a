package fsck

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// tenantDocument is <tenant>/tenant.json: what must be known of a tenant, beside its mailboxes, so that mail finds its way again.
type tenantDocument struct {
	Version    int              `json:"version"`
	TenantID   store.TenantID   `json:"tenant_id"`
	Name       string           `json:"name"`
	Suspended  bool             `json:"suspended,omitempty"`
	QuotaBytes int64            `json:"quota_bytes,omitempty"`
	Created    time.Time        `json:"created"`
	Domains    []documentDomain `json:"domains"`
	Aliases    []documentAlias  `json:"aliases"`
}

type documentDomain struct {
	Name    string `json:"name"`
	AliasOf string `json:"alias_of,omitempty"`
}

type documentAlias struct {
	Address string    `json:"address"`
	Target  string    `json:"target"`
	Created time.Time `json:"created"`
}

func tenantKey(id store.TenantID) string { return fmt.Sprintf("%s/%s", id, tenantAs) }

func documentOf(d *store.TenantDescription) tenantDocument {
	doc := tenantDocument{
		Version: descriptionVersion, TenantID: d.ID, Name: d.Name, Suspended: d.Suspended, QuotaBytes: d.QuotaBytes, Created: d.Created.UTC(),
		Domains: []documentDomain{}, Aliases: []documentAlias{},
	}
	for _, domain := range d.Domains {
		doc.Domains = append(doc.Domains, documentDomain{domain.Name, domain.Of})
	}
	for _, a := range d.Aliases {
		doc.Aliases = append(doc.Aliases, documentAlias{a.Address, a.Target, a.Created.UTC()})
	}
	return doc
}

func (doc tenantDocument) description() store.TenantDescription {
	d := store.TenantDescription{Tenant: store.Tenant{
		ID: doc.TenantID, Name: doc.Name, Suspended: doc.Suspended, QuotaBytes: doc.QuotaBytes, Created: doc.Created,
	}}
	for _, domain := range doc.Domains {
		d.Domains = append(d.Domains, store.DescribedDomain{Name: domain.Name, Of: domain.AliasOf})
	}
	for _, a := range doc.Aliases {
		d.Aliases = append(d.Aliases, store.Alias{Tenant: doc.TenantID, Address: a.Address, Target: a.Target, Created: a.Created})
	}
	return d
}

// describeTenant compares the description of a tenant in the object store with what it should be, and writes it if asked to. differs
// says whether it was missing or another one.
func (f *Fsck) describeTenant(ctx context.Context, id store.TenantID, write bool) (differs bool, err error) {
	d, err := f.store.DescribeTenant(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && len(d.Domains) == 0 {
		return false, nil // no mail comes for it
	}
	if err != nil {
		return false, fmt.Errorf("describe tenant %s: %w", id, err)
	}
	key, want := tenantKey(id), documentOf(d)
	text, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		return false, fmt.Errorf("describe tenant %s: %w", id, err)
	}
	has, err := f.document(ctx, key)
	if isReplaceable(err, write) {
		has, err = nil, nil
	}
	differs = err == nil && !bytes.Equal(bytes.TrimSpace(has), text)
	if differs && write {
		err = f.writeDocument(ctx, key, want)
	}
	return orUnreadable(differs, err, write)
}

// describeTenants writes the descriptions of tenants that are missing or old, unless the database is in doubt: what the object store
// has then may be newer. It goes on past tenants that cannot be described; left are those, and on an error that ends all work the ones behind.
func (f *Fsck) describeTenants(ctx context.Context, ids []store.TenantID) (left []store.TenantID, err error) {
	failed := undescribed{f: f}
	for i, id := range ids {
		err := f.Certain(ctx)
		if errors.Is(err, ErrAnother) {
			break
		}
		if err == nil || errors.Is(err, ErrStopped) {
			err = f.describeTenantNow(ctx, id)
		}
		if err != nil {
			left = append(left, id)
		}
		if err := failed.pass(ctx, err); err != nil {
			return append(left, ids[i+1:]...), errors.Join(err, failed.err())
		}
	}
	return left, failed.err()
}

// describeTenantNow is describeTenant, with nobody else at it in this process: what was read first is not written last.
func (f *Fsck) describeTenantNow(ctx context.Context, id store.TenantID) error {
	f.describing.Lock()
	defer f.describing.Unlock()
	_, err := f.describeTenant(ctx, id, true)
	return err
}

func (f *Fsck) eachTenant(ctx context.Context, do func(store.Tenant) error) error {
	after := ""
	for {
		page, err := f.store.Tenants(ctx, store.System, after, describePage)
		if err != nil {
			return fmt.Errorf("list tenants: %w", err)
		}
		for _, t := range page {
			if err := do(t); err != nil {
				return err
			}
			after = t.Name
		}
		if len(page) < describePage {
			return nil
		}
	}
}

// DescribeTenants writes the description of each tenant that has none, or an old one.
func (f *Fsck) DescribeTenants(ctx context.Context) error {
	var ids []store.TenantID
	err := f.eachTenant(ctx, func(t store.Tenant) error {
		ids = append(ids, t.ID)
		return nil
	})
	_, errDescribe := f.describeTenants(ctx, ids)
	return errors.Join(err, errDescribe)
}

// errNotUnderstood is about a description that will not be better at the next reading.
var errNotUnderstood = errors.New("the description is not understood")

// isLost says whether a description that could not be read is lost for good.
func isLost(err error) bool {
	return errors.Is(err, errNotUnderstood) || errors.Is(err, blob.ErrDamaged) || isKeyLost(err)
}

// describedTenant reads the description of a tenant from the object store; nil when there is none.
func (f *Fsck) describedTenant(ctx context.Context, id store.TenantID) (*store.TenantDescription, error) {
	raw, err := f.document(ctx, tenantKey(id))
	if err != nil || raw == nil {
		return nil, err
	}
	var doc tenantDocument
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("read %s: %w: %w", tenantKey(id), errNotUnderstood, err)
	}
	if doc.Version != descriptionVersion || doc.TenantID != id {
		return nil, fmt.Errorf("read %s: %w: another tenant's, or of another version", tenantKey(id), errNotUnderstood)
	}
	d := doc.description()
	return &d, nil
}

// restoreTenant makes a tenant again, once for each settler, before its first mailbox is. A description that is not there, or is lost, keeps no mailbox from being made.
func (s *settler) restoreTenant(ctx context.Context, id store.TenantID) error {
	if s.restored[id] {
		return nil
	}
	d, err := s.describedTenant(ctx, id)
	switch {
	case err != nil && !isLost(err):
		return err
	case err != nil:
		s.log.Warn("tenant not made again from its description", "tenant_id", string(id), "err", err)
	case d != nil:
		if err := s.remakeTenant(ctx, *d); err != nil {
			return err
		}
	}
	s.restored[id] = true
	return nil
}

// remakeTenant makes what is missing of a tenant and its domains. Aliases come after all mailboxes, whose addresses go first, when it is known that a
// check will see to them. Else those of a tenant that the database does not know are made at once, since its description is written anew
// when it is there; what it does know of aliases stands.
func (s *settler) remakeTenant(ctx context.Context, d store.TenantDescription) error {
	_, err := s.store.Tenant(ctx, d.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if s.aliasesLater || err == nil {
		d.Aliases = nil
	}
	_, left, err := s.restoreWhole(ctx, d, true, remadePage)
	if len(left) > 0 {
		s.log.Warn("not all of a tenant was made again", "tenant_id", string(d.ID), "left", left)
	}
	return err
}

// checkTenants looks, when the database is another one or was set back, for what tenants were described with and do not have. A
// description that can't be read at the moment is left as it is.
func (c *check) checkTenants(ctx context.Context) error {
	if !c.inDoubt {
		return nil
	}
	for _, id := range c.tenants {
		d, err := c.describedTenant(ctx, id)
		switch {
		case err != nil:
			if err := c.noteUnread(ctx, tenantKey(id), id, err); err != nil {
				return err
			}
			c.found(Problem{Kind: KindTenant, Key: tenantKey(id), What: "the description of a tenant cannot be read: " + err.Error()})
			continue
		case d == nil:
			continue
		}
		if err := c.checkTenant(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// checkTenant tells what is missing of a tenant.
func (c *check) checkTenant(ctx context.Context, d *store.TenantDescription) error {
	p := Problem{Kind: KindTenant, Key: tenantKey(d.ID)}
	missing, left, err := c.restoreWhole(ctx, *d, c.mends(), restorePage)
	if err != nil {
		return err
	}
	for _, name := range missing {
		p.What, p.Mended = fmt.Sprintf("%s of %s is described, but not in the database", name, d.Name), c.mends()
		if p.Mended {
			p.Done = "made again"
		}
		c.found(p)
	}
	if len(left) > 0 {
		p.What, p.Mended, p.Done = fmt.Sprintf("of %s is described, but cannot be made again: %s", d.Name, strings.Join(left, ", ")), false, ""
		c.found(p)
		if err := c.noteAliasesNowhere(ctx, d, p.What); err != nil {
			return err
		}
	}
	return c.step("tenant restored")
}

// noteAliasesNowhere notes the aliases and alias domains of a tenant that lead nowhere. Its description is kept as it is when there are any.
func (c *check) noteAliasesNowhere(ctx context.Context, d *store.TenantDescription, why string) error {
	c.restoring.Lock()
	defer c.restoring.Unlock()
	before := c.nowhere
	for _, domain := range d.Domains {
		if domain.Of == "" {
			continue // its addresses are mailboxes and aliases
		}
		has, err := c.store.HasDomain(ctx, domain.Name)
		if err != nil {
			return err
		}
		if !has {
			c.addNowhere("all of "+domain.Name, why)
		}
	}
	for _, a := range d.Aliases {
		if err := c.noteAliasNowhere(ctx, a.Address, why); err != nil {
			return err
		}
	}
	c.lacking[d.ID] = c.nowhere > before
	return nil
}

// noteAliasNowhere is noteNowhere, but for an alias that the database has: where that leads is its own affair.
func (c *check) noteAliasNowhere(ctx context.Context, described, why string) error {
	if address, err := mail.ParseUnquoted(described); err == nil {
		if _, err := c.store.Alias(ctx, store.System, address); !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return c.noteNowhere(ctx, described, why)
}

const (
	// restorePage is how many aliases are made in one transaction.
	restorePage = 500
	// remadePage is how many are made with their tenant: one that is broken off should leave nothing of it, since its description would be written
	// anew without the others.
	remadePage = 5_000
)

// restoreWhole gives what is missing of a tenant, and makes it if asked to; left is what cannot be made.
func (s *settler) restoreWhole(ctx context.Context, d store.TenantDescription, apply bool, page int) (missing, left []string, err error) {
	seen := map[string]bool{} // what is not made is missing for every page
	fresh := func(names []string) []string {
		return slices.DeleteFunc(names, func(name string) bool {
			had := seen[name]
			seen[name] = true
			return had
		})
	}
	aliases := d.Aliases
	for {
		n := min(len(aliases), page)
		d.Aliases, aliases = aliases[:n], aliases[n:]
		some, others, err := s.store.RestoreTenant(ctx, d, apply)
		if err != nil {
			return nil, nil, err
		}
		missing, left = append(missing, fresh(some)...), append(left, fresh(others)...)
		if len(aliases) == 0 {
			return missing, left, nil
		}
	}
}
