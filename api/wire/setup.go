package wire

// Setup describes an installation to be: what is missing is made, what is there stays.
type Setup struct {
	Tenant  string   `json:"tenant" minLength:"1" maxLength:"100"`
	Domains []string `json:"domains" minItems:"1" maxItems:"100" nullable:"false"`
	// AliasDomains stand for another domain of the tenant.
	AliasDomains []AliasDomain `json:"alias_domains,omitempty" maxItems:"100" nullable:"false"`
	// Admin is the login of a super_admin.
	Admin         string `json:"admin,omitempty" maxLength:"320"`
	AdminPassword string `json:"admin_password,omitempty" maxLength:"1024" format:"password" doc:"Absent: a random one is made."`
	// Mailboxes are addresses; each gets a user who logs in with it.
	Mailboxes []string `json:"mailboxes,omitempty" maxItems:"10000" nullable:"false"`
	// Aliases are made after the mailboxes, in this order.
	Aliases []SetupAlias `json:"aliases,omitempty" maxItems:"10000" nullable:"false"`
	// MailboxPassword is for every new mailbox; empty means a random one each.
	MailboxPassword string `json:"mailbox_password,omitempty" maxLength:"1024" format:"password" doc:"For every new mailbox. Absent: a random one each."`
}

// AliasDomain is a domain that stands for another one: mail for any address in it goes to the same address there.
type AliasDomain struct {
	Domain string `json:"domain" minLength:"1" maxLength:"255" example:"example.net"`
	Of     string `json:"of" minLength:"1" maxLength:"255" example:"example.jp"`
}

// SetupAlias is an alias to be.
type SetupAlias struct {
	Address string `json:"address" minLength:"3" maxLength:"320" example:"info@example.jp"`
	AliasTarget
}

// SetupResult tells what Setup made and what was there.
type SetupResult struct {
	Things []Made `json:"things" nullable:"false"`
}

// Made is one thing of a setup.
type Made struct {
	Kind    string `json:"kind" enum:"tenant,domain,user,mailbox,alias"`
	ID      string `json:"id"`
	Name    string `json:"name"`
	Created bool   `json:"created" doc:"False: it was there."`
	// Password is set when a random one was made; it is shown this once.
	Password string `json:"password,omitempty" doc:"The random password that was made. It is shown this once."`
}
