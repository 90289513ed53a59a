package layers_test

// row is what one package may import of this module, in its ordinary code (not its tests).
type row struct {
	// may are paths below the module; "x/..." is x and all below it.
	may []string
	// everything is for those that wire the others.
	everything bool
}

// The words of the table.
var (
	// leaves are the vocabulary that nearly everybody speaks; they import nothing of ours.
	leaves = []string{"internal/mail", "internal/keyring", "internal/listen", "internal/alert", "internal/mailer"}
	leaf   = row{}
)

// fronts are what the outside talks to. They never import one another.
var fronts = []string{"milter", "lmtp", "api", "ui", "imap"}

// table is who may import whom; the reasons are in docs/adr and in each package's comment. A package that is not
// here fails the test: decide where it belongs, and add it.
var table = map[string]row{
	"cmd/mairust":    {everything: true},
	"cmd/mairustctl": may("api/client", "api/wire", "cmd/internal/command"),

	"milter":        may(with(leaves, "milter/rspamd")...), // its check, for its Options
	"milter/rspamd": may(leaves...),
	"lmtp":          may(with(leaves, "store", "store/blob")...),
	"lmtp/lookup":   may(with(leaves, "store")...),

	"migrations":          leaf,
	"store":               may(with(leaves, "store/sqldb", "store/blob", "internal/batch")...),
	"store/sqldb":         may("migrations"),
	"store/blob":          may(with(leaves, "store/blob/journal")...),
	"store/blob/journal":  may("internal/batch"),
	"store/blob/blobtest": may("store/blob"),
	"store/blob/move":     may("store/blob"),
	"store/blob/s3":       may(with(leaves, "store/blob")...),
	"store/blob/crypt":    may(with(leaves, "store", "store/blob")...), // store: where the keys of tenants are
	"store/attachment":    may(with(leaves, "store", "store/blob")...),
	"store/subject":       may(with(leaves, "store", "store/blob")...),
	"store/fsck":          may(with(leaves, "store", "store/blob")...),
	"store/storetest":     may(with(leaves, "store", "store/sqldb", "store/blob", "store/blob/blobtest", "internal/lab/labtest")...),

	"policy":                 may(leaves...),
	"policy/bounce":          may(with(leaves, "store")...),
	"policy/notify":          may(with(leaves, "store")...),
	"policy/sim":             may("policy"),
	"policy/sim/detection":   may("policy/sim"),
	"policy/rule":            may(leaves...),
	"policy/redis":           leaf,
	"policy/upkeep":          may(with(leaves, "store", "policy/notify")...),
	"policy/outbound":        may(with(leaves, "policy", "policy/geoip", "policy/notify", "store")...),
	"policy/geoip":           leaf,
	"policy/geoip/geoiptest": leaf,

	"api":        may(with(leaves, "api/wire", "internal/admin", "internal/auth", "store/search", "store", "store/attachment", "store/blob")...),
	"api/wire":   leaf,
	"api/client": may("api/wire"),
	"imap":       may(with(leaves, "internal/auth", "store", "store/blob")...),
	"ui":         may(with(leaves, "ui/safe", "api/wire", "internal/admin", "internal/auth", "policy", "store", "store/attachment", "store/blob")...),
	"ui/safe":    leaf,

	"internal/mail":        leaf,
	"internal/keyring":     leaf,
	"internal/listen":      leaf,
	"internal/alert":       may("internal/mailer"),
	"internal/mailer":      leaf,
	"internal/batch":       leaf,
	"cmd/internal/command": leaf,
	"internal/config":      {everything: true}, // the Options of every package
	"internal/auth":        may(with(leaves, "store")...),
	"internal/admin":       may(with(leaves, "api/wire", "internal/auth", "store", "policy/...")...), // wire: what acts take and give

	"cmd/internal/command/commandtest": leaf,

	"internal/bench":       may("internal/lab", "internal/mail", "store", "store/sqldb", "store/storetest"),
	"internal/lab":         leaf,
	"internal/lab/labtest": may("internal/lab"),
	"internal/postfix":     leaf,
	"internal/layers":      leaf,
}

// importers limits who may import a package, whatever their own rows say. Tests are not limited.
var importers = map[string][]string{
	"internal/lab":                     {"cmd/mairust", "internal/bench", "internal/lab/labtest"}, // the demo
	"internal/lab/labtest":             {"store/storetest"},
	"cmd/internal/command":             {"cmd/mairust", "cmd/mairustctl"},
	"cmd/internal/command/commandtest": {}, // for tests
	"store/storetest":                  {"internal/bench"},
	"store/blob/blobtest":              {"store/storetest"},
	"internal/config":                  {"cmd/mairust"},
	"cmd/mairust":                      {},
	"cmd/mairustctl":                   {},
}

func may(paths ...string) row { return row{may: paths} }

// with is a new list of both.
func with(list []string, more ...string) []string {
	return append(append([]string(nil), list...), more...)
}
