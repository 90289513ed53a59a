package lab

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// mainCf is the text of main.cf.
func (p *Postfix) mainCf() string {
	params := p.baseParams()
	o := p.opts
	setUnlessEmpty(params, "smtpd_milters", o.Milter)
	setUnlessEmpty(params, "non_smtpd_milters", o.LocalMilter)
	setUnlessEmpty(params, "mailbox_transport", o.MailboxTransport)
	maps.Copy(params, o.ExtraMain)
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(params)) {
		fmt.Fprintf(&b, "%s = %s\n", k, params[k])
	}
	return b.String()
}

// baseParams are the parameters of every instance.
func (p *Postfix) baseParams() map[string]string {
	o := p.opts
	master, _ := masterProgram() // StartPostfix has found it
	return map[string]string{
		"compatibility_level":             "3.6",
		"queue_directory":                 p.inst.path("queue"),
		"data_directory":                  p.inst.path("data"),
		"command_directory":               "/usr/sbin",
		"daemon_directory":                filepath.Dir(master),
		"mail_owner":                      "postfix",
		"setgid_group":                    "postdrop",
		"maillog_file_prefixes":           p.inst.dir,
		"maillog_file":                    p.LogFile,
		"inet_interfaces":                 "127.0.0.1",
		"inet_protocols":                  "ipv4",
		"myhostname":                      or(o.Hostname, "mx.example.test"),
		"mydestination":                   o.LocalDomains,
		"mynetworks":                      "127.0.0.2/32", // so that 127.0.0.1 is a stranger
		"alias_maps":                      "",
		"alias_database":                  "",
		"local_recipient_maps":            o.LocalRecipientMaps,
		"virtual_mailbox_domains":         or(o.VirtualMailboxDomains, "example.test"),
		"virtual_mailbox_maps":            or(o.VirtualMailboxMaps, "static:ok"),
		"virtual_transport":               or(o.VirtualTransport, "discard:"),
		"milter_default_action":           "tempfail",
		"smtp_dns_support_level":          "disabled",
		"smtp_host_lookup":                "native",
		"relayhost":                       "[127.0.0.1]:9", // nothing can leave
		"smtpd_peername_lookup":           "no",
		"smtpd_relay_restrictions":        "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination",
		"smtpd_tls_security_level":        "none",
		"smtpd_sasl_type":                 "dovecot",
		"smtpd_sasl_path":                 addrOf(p.sasl.listener),
		"smtpd_authorized_xclient_hosts":  "127.0.0.1",
		"smtpd_authorized_xforward_hosts": "127.0.0.1",
		// Tests wait for a deferred message: try again soon, and reach a service again as soon as it is back.
		"queue_run_delay":      "2s",
		"minimal_backoff_time": "1s",
		"maximal_backoff_time": "2s",
		// Strangers that make many mistakes are slowed down by a second for each; tests make them on purpose.
		"smtpd_error_sleep_time": "0s",
	}
}

// masterCf is the text of master.cf: the two listeners, and the stock services without chroot.
func (p *Postfix) masterCf() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s inet n - n - - smtpd\n", p.SMTPAddr)
	fmt.Fprintf(&b, "%s inet n - n - - smtpd\n", p.SubmissionAddr)
	b.WriteString("  -o smtpd_sasl_auth_enable=yes\n")
	b.WriteString("  -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject\n")
	b.WriteString("  -o milter_macro_daemon_name=ORIGINATING\n")
	b.WriteString(stockServices)
	for _, line := range p.opts.ExtraMaster {
		b.WriteString(line + "\n")
	}
	return b.String()
}

// stockServices are master.cf's unix services; master(5) explains the columns.
const stockServices = `pickup    unix       n - n 60    1 pickup
cleanup   unix       n - n -     0 cleanup
qmgr      unix       n - n 300   1 qmgr
tlsmgr    unix       - - n 1000? 1 tlsmgr
rewrite   unix       - - n -     - trivial-rewrite
bounce    unix       - - n -     0 bounce
defer     unix       - - n -     0 bounce
trace     unix       - - n -     0 bounce
verify    unix       - - n -     1 verify
flush     unix       n - n 1000? 0 flush
proxymap  unix       - - n -     - proxymap
proxywrite unix      - - n -     1 proxymap
smtp      unix       - - n -     - smtp
relay     unix       - - n -     - smtp
showq     unix       n - n -     - showq
error     unix       - - n -     - error
retry     unix       - - n -     - error
discard   unix       - - n -     - discard
local     unix       - n n -     - local
virtual   unix       - n n -     - virtual
lmtp      unix       - - n -     - lmtp
anvil     unix       - - n -     1 anvil
scache    unix       - - n -     1 scache
postlog   unix-dgram n - n -     1 postlogd
`

func setUnlessEmpty(params map[string]string, name, value string) {
	if value != "" {
		params[name] = value
	}
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
