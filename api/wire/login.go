package wire

import "time"

// Credentials ask for a session.
type Credentials struct {
	Login    string `json:"login" minLength:"1" maxLength:"320" example:"bob@example.test"`
	Password string `json:"password" minLength:"1" maxLength:"1024" format:"password"`
}

// Session answers a login.
type Session struct {
	// Token goes into "Authorization: Bearer …"; browsers have it in a cookie.
	Token     string    `json:"token" doc:"For the Authorization header, as a Bearer token. Browsers have it in a cookie."`
	ExpiresAt time.Time `json:"expires_at"`
	User      Principal `json:"user"`
}

// Principal is whoever asks.
type Principal struct {
	Kind  string `json:"kind" enum:"user,api_key,socket"`
	ID    string `json:"id"`
	Login string `json:"login" doc:"The login, or the name of the API key."`
	Role  string `json:"role" enum:"super_admin,tenant_admin,helpdesk,auditor,user,postfix"`
	// TenantID is empty for whoever stands above tenants.
	TenantID string   `json:"tenant_id,omitempty"`
	Actions  []string `json:"actions" nullable:"false" doc:"What the role allows."`
}

// NewLoginLink asks for a link that logs a person in once.
type NewLoginLink struct {
	Login string `json:"login" minLength:"1" maxLength:"320"`
}

// LoginLinkCreated is the token of a login link, which is shown this once.
type LoginLinkCreated struct {
	Login     string    `json:"login"`
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expires_at"`
}
