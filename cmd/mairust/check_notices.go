package main

import (
	"context"
	"errors"
	"os"

	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/internal/mailer"
	"github.com/mairust/mairust/policy"
)

// notices tries the mail server that mails to administrators go to, as for one of them.
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
	m, err := mailer.New(o, hostname)
	if err == nil {
		err = m.Probe(ctx)
	}
	judged := o.Local() && c.Outbound.Mode != policy.Off && len(c.Milter.Listeners) > 0
	switch {
	case errors.Is(err, mailer.ErrNoEnvID) && judged:
		r.warn("notices", o.Address+": "+err.Error()+"; if its mail is judged here, notices are judged like the mail of a user, and are refused while their account or domain is stopped",
			"take dsn out of Postfix's smtpd_discard_ehlo_keywords, or name a server that is not judged here")
	case errors.Is(err, mailer.ErrNoEnvID):
		r.pass("notices", o.Address+" answers")
	case err != nil:
		r.warn("notices", o.Address+": "+err.Error(), "start the mail server, or correct notify.smtp; until then nobody is told by mail")
	case judged:
		r.pass("notices", o.Address+" answers; notices prove that they are ours and are not judged")
	default:
		r.pass("notices", o.Address+" answers")
	}
}
