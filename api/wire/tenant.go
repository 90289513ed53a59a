package wire

import "time"

// Tenant is the unit of administration: every mailbox belongs to one.
type Tenant struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	State string `json:"state" enum:"active,suspended" doc:"Mail for a suspended tenant is deferred (450 4.2.1)."`
	// QuotaBytes is 0 when there is no limit.
	QuotaBytes int64     `json:"quota_bytes" doc:"0 = no limit"`
	UsedBytes  int64     `json:"used_bytes"`
	CreatedAt  time.Time `json:"created_at"`
}

// Quota limits how many bytes messages may have together. Mail that would exceed it is deferred (452 4.2.2).
type Quota struct {
	QuotaBytes int64 `json:"quota_bytes" minimum:"0" maximum:"9007199254740991" example:"5000000000" doc:"0 lifts the limit."`
}

// TenantAct is an act on a tenant with its reason.
type TenantAct struct {
	Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"Why; it is kept in the audit log."`
	Ticket string `json:"ticket,omitempty" maxLength:"100"`
}
