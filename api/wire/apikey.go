package wire

import "time"

// NewAPIKey asks for an API key.
type NewAPIKey struct {
	Name string `json:"name" minLength:"1" maxLength:"100"`
	Role string `json:"role" enum:"super_admin,tenant_admin,helpdesk,auditor,postfix"`
	// Tenant is a name or id; empty for super_admin, and for the own tenant of whoever asks.
	Tenant string `json:"tenant,omitempty" maxLength:"100" doc:"Name or id. Absent for super_admin, and for one's own tenant."`
	// ExpiresDays is 0 for a key that does not expire.
	ExpiresDays int `json:"expires_days,omitempty" minimum:"0" maximum:"3650" doc:"0 = never"`
}

// APIKey is an API key without its secret.
type APIKey struct {
	ID         string     `json:"id"`
	TenantID   string     `json:"tenant_id,omitempty"`
	Name       string     `json:"name"`
	Role       string     `json:"role"`
	Prefix     string     `json:"prefix" doc:"The beginning of the key."`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at,omitempty"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty"`
}

// APIKeyCreated is a new API key; Key is shown this once.
type APIKeyCreated struct {
	APIKey
	Key string `json:"key" doc:"The key itself. It is shown this once."`
}
