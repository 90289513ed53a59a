package main

import (
	"context"
	"os"

	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/internal/keyring"
	"github.com/mairust/mairust/internal/mailer"
	"github.com/mairust/mairust/policy"
)

// notices tries the mail server that mails to administrators go to, as for one of them: all but sending it.
func (r *checkReport) notices(ctx context.Context, c *config.Config) {
	o := c.Notify.SMTP
	if o.Address == "" {
		return
	}
	hostname, err := os.Hostname()
	if err != nil {
		r.fail("notices", err, "give the host a name")
		return
	}
	probed, err := probeNotices(ctx, c, hostname)
	judged := o.Local() && c.Outbound.Mode != policy.Off && len(c.Milter.Listeners) > 0
	if probed.NoEnvID && judged {
		r.warn("notices", o.Address+": the server does not offer DSN (RFC 3461); if its mail is judged here, notices are judged like the mail of a user, and are refused while their account or domain is stopped",
			"take dsn out of Postfix's smtpd_discard_ehlo_keywords, or name a server that is not judged here")
	}
	switch {
	case err != nil:
		r.warn("notices", o.Address+": "+err.Error(), "start the mail server, or correct notify.smtp; until then nobody is told by mail")
	case len(probed.Refused) > 0:
		r.warn("notices", o.Address+": "+probed.Refused.String(), "correct notify.smtp.to, or let the server take mail for the address; only the others are told by mail")
	case judged && !probed.NoEnvID:
		r.pass("notices", o.Address+" answers; notices prove that they are ours and are not judged")
	case !judged:
		r.pass("notices", o.Address+" answers")
	}
}

// probeNotices goes as far as a mail to administrators does, with the proof that it is ours where the keyring can be read.
func probeNotices(ctx context.Context, c *config.Config, hostname string) (mailer.Probed, error) {
	m, err := mailer.New(c.Notify.SMTP, hostname)
	if err != nil {
		return mailer.Probed{}, err
	}
	if ring, err := keyring.Open(c.Secrets.Keyring); err == nil {
		m.Prove(func(fields ...string) string { return ring.MAC(keyring.Letter, fields...) })
	}
	return m.Probe(ctx)
}
