package postfix_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/postfix"
)

func TestRoutesOfTheSiteAreOverridden(t *testing.T) {
	_, p, err := plan(t, newHost(t, virtualMain+"transport_maps = inline:{{example.test=dovecot:}}\n", plainMaster), options(postfix.Replace))
	require.NoError(t, err)
	require.Equal(t, "texthash:$config_directory/mairust/transport, inline:{{example.test=dovecot:}}", added(p)["transport_maps"])
	require.Contains(t, notes(p), "transport_maps sends example.test to dovecot:")
}

func TestRoutesOfDomainsAboveAndOfEverythingAreOverridden(t *testing.T) {
	main := strings.ReplaceAll(virtualMain, "example.test", "sub.example.test")
	o := options(postfix.Replace)
	o.Directory = directory{[]string{"sub.example.test"}, []string{"bob@sub.example.test"}}
	for routes, overridden := range map[string]bool{
		"inline:{{.example.test=smtp:old}}": true, "inline:{{.test=smtp:old}}": true, "inline:{{*=smtp:old}}": true,
		"inline:{{example.test=smtp:old}, {.other.test=smtp:old}}":                                      false,
		"inline:{{example.test=smtp:old}}\nparent_domain_matches_subdomains = transport_maps":           true,
		"inline:{{.example.test=smtp:old}, {x.test=x:}}\nparent_domain_matches_subdomains = mynetworks": true,
	} {
		_, p, err := plan(t, newHost(t, main+"transport_maps = "+routes+"\n", plainMaster), o)
		require.NoError(t, err)
		_, routed := added(p)["transport_maps"]
		require.Equal(t, overridden, routed, routes)
		require.Equal(t, overridden, strings.Contains(notes(p), "transport_maps sends sub.example.test to smtp:old"), routes)
		if overridden {
			require.Contains(t, p.Files[0].Text, "\nsub.example.test\tlmtp:inet:127.0.0.1:2424\n")
		}
	}
}

func TestRoutesOfSingleUsersAreNamed(t *testing.T) {
	pattern := filepath.Join(t.TempDir(), "pattern")
	require.NoError(t, os.WriteFile(pattern, []byte("/^.*@example\\.test$/ smtp:old\n"), 0o644))
	routes := "transport_maps = inline:{{kim@Example.test=smtp:old}, {lee@other.test=smtp:old}, {ann@example.test=smtp:old}}"
	_, p, err := plan(t, newHost(t, virtualMain+routes+"\n", plainMaster), options(postfix.Replace))
	require.NoError(t, err)
	require.Contains(t, notes(p), "routes for single users, which stay: ann@example.test, kim@example.test | take it out")
	require.NotContains(t, notes(p), "pattern")
	_, p, err = plan(t, newHost(t, virtualMain+"transport_maps = regexp:"+pattern+"\n", plainMaster), options(postfix.Replace))
	require.NoError(t, err)
	require.Contains(t, notes(p), "a pattern that sends users of example.test to smtp:old")
	require.NotContains(t, notes(p), "single users")
}

func TestLocalDomainsThatTheSiteRoutesStillHaveAliases(t *testing.T) {
	main := "compatibility_level = 3.6\nmydestination = example.test, host.test\nalias_maps = inline:{{root=bob},{postmaster=root}}\n"
	_, p, err := plan(t, newHost(t, main+"transport_maps = inline:{{*=smtp:relay},{example.test=local:}}\n", plainMaster), options(postfix.Replace))
	require.NoError(t, err)
	tables := ""
	for _, f := range p.Files {
		tables += f.Text
	}
	require.Contains(t, tables, "\nexample.test\tlocal:\n")
	require.NotContains(t, tables, "mairust-keep", "host.test goes where it went")
}

// Neither a route to no transport nor one to local(8) leads past the first local(8), which delivers to MaiRust.
func TestHostNamesWithANullRouteAreKept(t *testing.T) {
	for _, route := range []string{"host.example.test=:", ".example.test=:", ".example.test=local:", "*=local:"} {
		main := "compatibility_level = 3.6\nmydestination = example.test, host.example.test\ntransport_maps = inline:{{" + route + "}}\n"
		_, p, err := plan(t, newHost(t, main, plainMaster), options(postfix.Replace))
		require.NoError(t, err)
		tables := ""
		for _, f := range p.Files {
			tables += f.Text
		}
		require.Contains(t, tables, "\nhost.example.test\tmairust-keep:\n", route)
	}
}

func TestSecondLocalIsLikeTheFirst(t *testing.T) {
	main := "compatibility_level = 3.6\nmydestination = example.test, host.test\nmailbox_transport_maps = inline:{{kim=x:}}\n"
	master := strings.Replace(plainMaster, "local unix - n n - - local\n", `local unix - n y - 3 local
  -o mailbox_size_limit=0 -ohome_mailbox=Maildir/
  -o mailbox_transport=lmtp:unix:private/dovecot
  # a comment
  -o { forward_path = /var/forward/$user, $home/.forward }
`, 1)
	_, p, err := plan(t, newHost(t, main, master), options(postfix.Replace))
	require.NoError(t, err)
	require.Contains(t, p.Master(), strings.Replace(master, "lmtp:unix:private/dovecot", "lmtp:inet:127.0.0.1:2424", 1), "the first delivers to MaiRust")
	require.Contains(t, p.Master(), `
mairust-keep  unix  -       n       y       -       3       local
  -o mailbox_transport=lmtp:unix:private/dovecot
  -o mailbox_transport_maps=inline:{{kim=x:}}
  -o mailbox_size_limit=0
  -o home_mailbox=Maildir/
  -o { forward_path = /var/forward/$user, $home/.forward }
`)
}

func TestTablesThatLocalHasForItselfStay(t *testing.T) {
	main := "compatibility_level = 3.6\nmydestination = example.test\nalias_maps = inline:{{postmaster=root}}\n"
	h := newHost(t, main, strings.TrimSpace(plainMaster)+" -o mailbox_transport_maps=inline:{{kim=x:}}\n")
	_, p, err := plan(t, h, options(postfix.Replace))
	require.NoError(t, err)
	require.Contains(t, p.Master(), "local unix - n n - - local -o { mailbox_transport_maps = inline:{{root=mairust-keep:}}, inline:{{kim=x:}} }\n")
	require.Contains(t, p.Master(), "\n  -o mailbox_transport_maps=inline:{{kim=x:}}\n", "mairust-keep has them as they were")
	master := read(t, h, "master.cf")
	apply(t, h, options(postfix.Replace))
	b, err := h.Undo()
	require.NoError(t, err)
	require.NoError(t, h.Revert(b))
	require.Equal(t, master, read(t, h, "master.cf"))
}

func TestLocalDomainsAllOfWhichAreSwitched(t *testing.T) {
	main := "compatibility_level = 3.6\nmydestination = example.test\nalias_maps = inline:{{root=bob},{postmaster=root}}\n" +
		"mailbox_transport = lmtp:unix:private/dovecot lmtp\n"
	_, p, err := plan(t, newHost(t, main, plainMaster), options(postfix.Replace))
	require.NoError(t, err)
	require.Equal(t, "lmtp:inet:127.0.0.1:2424", added(p)["mailbox_transport"])
	require.Equal(t, "socketmap:inet:127.0.0.1:8899:mailboxes, $alias_maps", added(p)["local_recipient_maps"])
	require.Equal(t, plainMaster, p.Master())

	main = strings.Replace(main, "mydestination = example.test", "mydestination = example.test, host.test", 1)
	_, p, err = plan(t, newHost(t, main, plainMaster), options(postfix.Replace))
	require.NoError(t, err)
	require.Contains(t, p.Master(), "  -o { mailbox_transport = lmtp:unix:private/dovecot lmtp }\n")
	require.Contains(t, added(p)["local_recipient_maps"], "proxy:pipemap:{regexp:$config_directory/mairust/kept_domains.regexp,unix:passwd.byname}")

	_, p, err = plan(t, newHost(t, main+"transport_maps = inline:{{host.test=error:moved}}\nluser_relay = catch@x.test\n"+
		"mailbox_transport_maps = inline:{{kim=x:}}\n", plainMaster), options(postfix.Replace))
	require.NoError(t, err)
	require.NotContains(t, added(p), "transport_maps", "the site's own route for a domain that stays is kept")
	require.Contains(t, notes(p), "luser_relay is catch@x.test")
	require.Contains(t, notes(p), "mailbox_transport_maps is inline:{{kim=x:}}")

	_, _, err = plan(t, newHost(t, main+"mydestination = example.test, regexp:/nowhere\n", plainMaster), options(postfix.Replace))
	require.ErrorContains(t, err, "cannot be listed")
	_, p, err = plan(t, newHost(t, main+"local_transport = virtual:\nlocal_recipient_maps =\n", plainMaster), options(postfix.Replace))
	require.NoError(t, err)
	require.NotContains(t, added(p), "mailbox_transport")
	require.Contains(t, added(p), "transport_maps")
}
