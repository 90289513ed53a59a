package auth

import (
	"context"
	"slices"
	"time"

	"github.com/mairust/mairust/store"
)

// Kind says how somebody proved who they are.
type Kind string

// The kinds. They are written to the audit log.
const (
	KindUser   Kind = "user" // a person who logged in
	KindAPIKey Kind = "api_key"
	KindSocket Kind = "socket" // root or the service user, on the admin socket of the host
)

// Role says what somebody may do.
type Role string

// The roles.
const (
	SuperAdmin  Role = "super_admin"  // everything, in every tenant
	TenantAdmin Role = "tenant_admin" // everything in one tenant
	Helpdesk    Role = "helpdesk"     // the mailboxes of one tenant, and who may send
	Auditor     Role = "auditor"      // reads everything in one tenant, changes nothing
	User        Role = "user"         // the mailboxes given to them
	Postfix     Role = "postfix"      // a Postfix host: reports bounces and sees nothing; for API keys only
)

// Roles lists all roles, most powerful first.
func Roles() []Role { return []Role{SuperAdmin, TenantAdmin, Helpdesk, Auditor, User, Postfix} }

func (r Role) known() bool { return slices.Contains(Roles(), r) }

// Action is something that a role allows.
type Action string

// The actions.
const (
	ListMailboxes   Action = "mailbox.list"
	ManageMailboxes Action = "mailbox.manage" // quotas, aliases
	ReadMessages    Action = "message.read"
	ListTenants     Action = "tenant.list"
	ManageTenants   Action = "tenant.manage" // quotas, suspension
	ListAPIKeys     Action = "api_key.list"
	ManageAPIKeys   Action = "api_key.manage"
	SetUp           Action = "installation.setup"

	ReadOutbound    Action = "outbound.read"    // how accounts send: users their own
	ExplainOutbound Action = "outbound.explain" // why, and by whom; the policy
	StopOutbound    Action = "outbound.stop"    // stop, limit, release accounts
	ManageOutbound  Action = "outbound.manage"  // domains, modes, profiles, deletion of data
	ReportBounces   Action = "bounces.report"   // what Postfix's log says bounced
)

// Actions lists all actions in a fixed order.
func Actions() []Action {
	return []Action{
		ListMailboxes, ManageMailboxes, ReadMessages, ListTenants, ManageTenants, ListAPIKeys, ManageAPIKeys, SetUp,
		ReadOutbound, ExplainOutbound, StopOutbound, ManageOutbound, ReportBounces,
	}
}

// Principal is whoever asks, after authentication. The zero Principal may do nothing and sees nothing.
type Principal struct {
	Kind Kind
	// ID is the user's or the key's id; for the admin socket it is the uid of the peer.
	ID string
	// Login is the name for people: the login, or the name of the key.
	Login string
	// Tenant is empty for API keys of the whole installation and for the admin socket.
	Tenant store.TenantID
	Role   Role
	// Expires is when an API key ends; zero is never. For a session it is zero: what people make outlives their login.
	Expires time.Time
	// User is empty for API keys and the admin socket.
	User store.UserID
	// Credential is with what the principal came in; CheckLogin alone gives it.
	Credential Credential
}

// Socket is the principal of the on-host admin socket, for the peer with this uid.
func Socket(uid string) Principal {
	return Principal{Kind: KindSocket, ID: uid, Login: "uid " + uid, Role: SuperAdmin}
}

// Can tells whether the role allows the action at all; Scope tells on what.
func (p Principal) Can(a Action) bool {
	if p.Role == Postfix {
		return a == ReportBounces && p.Kind == KindAPIKey && p.Tenant == ""
	}
	switch a {
	case ListMailboxes, ReadMessages, ReadOutbound:
		return p.Role.known()
	case ExplainOutbound, ListTenants:
		return p.Role.known() && p.Role != User
	case StopOutbound:
		return p.Role == SuperAdmin || p.Role == TenantAdmin || p.Role == Helpdesk
	case ListAPIKeys:
		return p.Role == SuperAdmin || p.Role == TenantAdmin || p.Role == Auditor
	case ManageAPIKeys, ManageOutbound, ManageMailboxes:
		return p.Role == SuperAdmin || p.Role == TenantAdmin
	case SetUp, ReportBounces, ManageTenants:
		return p.Role == SuperAdmin && p.Scope().All
	default:
		return false
	}
}

// Scope is the part of the data that the principal sees. A key with a tenant stays inside it whatever its
// role; a role that lacks what it needs (a tenant, a user) sees nothing.
func (p Principal) Scope() store.Scope {
	switch p.Role {
	case SuperAdmin:
		if p.Kind == KindAPIKey && p.Tenant != "" {
			return store.Scope{Tenant: p.Tenant}
		}
		return store.Scope{All: true}
	case TenantAdmin, Helpdesk, Auditor:
		return store.Scope{Tenant: p.Tenant}
	case User:
		if p.User == "" || p.Tenant == "" {
			return store.Scope{}
		}
		return store.Scope{Tenant: p.Tenant, User: p.User}
	default:
		return store.Scope{}
	}
}

// MayGrant tells whether the principal may give role in tenant ("" = the whole installation) to an API key:
// nobody gives more than they have. Keys are not people, so the role user is never theirs.
func (p Principal) MayGrant(r Role, tenant store.TenantID) bool {
	if !p.Can(ManageAPIKeys) || !r.known() || r == User {
		return false
	}
	if (tenant == "") != (r == SuperAdmin || r == Postfix) {
		return false
	}
	scope := p.Scope()
	return scope.All || tenant != "" && tenant == scope.Tenant
}

// Actor names the principal in the audit log. Names of keys are chosen freely, so the id of a key stands with it.
func (p Principal) Actor() string {
	if p.Kind == KindAPIKey {
		return p.Login + " (" + p.ID + ")"
	}
	return p.Login
}

type requestIDKey struct{}

// WithRequestID notes the id of the request that is being served, for logs and answers. A client may have chosen it.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID gives the id noted by WithRequestID; empty when there is none.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

type auditIDKey struct{}

// WithAuditID notes the id under which acts of the request go into the audit log, where it differs from the request
// id: a stranger's choice must not make two acts look like one.
func WithAuditID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, auditIDKey{}, id)
}

// AuditID gives the id noted by WithAuditID, else that of WithRequestID.
func AuditID(ctx context.Context) string {
	if id, ok := ctx.Value(auditIDKey{}).(string); ok {
		return id
	}
	return RequestID(ctx)
}
