package wire

import "time"

// Mailbox is the store of one address.
type Mailbox struct {
	ID       string `json:"id"`
	TenantID string `json:"tenant_id"`
	Address  string `json:"address"`
	// QuotaBytes is 0 when there is no limit.
	QuotaBytes int64     `json:"quota_bytes" doc:"0 = no limit"`
	UsedBytes  int64     `json:"used_bytes"`
	Messages   int64     `json:"messages"`
	CreatedAt  time.Time `json:"created_at"`
	Folders    []Folder  `json:"folders,omitempty" nullable:"false"`
}

// Alias is an address whose mail goes to another one.
type Alias struct {
	TenantID  string    `json:"tenant_id"`
	Address   string    `json:"address" example:"info@example.jp"`
	Target    string    `json:"target" example:"tanaka@example.jp" doc:"A mailbox, another alias, or an address elsewhere."`
	CreatedAt time.Time `json:"created_at"`
}

// AliasTarget is where an alias leads.
type AliasTarget struct {
	Target string `json:"target" minLength:"3" maxLength:"320" example:"tanaka@example.jp" doc:"A mailbox or alias of the same tenant, or an address elsewhere."`
}

// Folder is a folder of a mailbox.
type Folder struct {
	ID       string `json:"id"`
	Name     string `json:"name" example:"INBOX"`
	Messages int64  `json:"messages"`
}
