package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/postfix"
)

func postfixCheckCommand() *cobra.Command {
	var o postfixCheckOptions
	cmd := &cobra.Command{
		Use: "check", Short: "Prove the wiring with a probe mail",
		Long: `Looks at the wiring, offers Postfix a recipient that does not exist, sends a probe mail through Postfix to a mailbox
and waits for it in MaiRust. Prints a line for each: PASS, WARN or FAIL, with what mends it. The exit code is 1 when anything
fails. The probe is removed again where the API can do that; in mode copy it also reaches the mailbox it was copied from.`,
		Example: "  mairust postfix check --mailbox bob@example.test", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return checkPostfix(cmd, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.mailbox, "mailbox", "", "`ADDRESS` the probe goes to; default: the first that is wired")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long the probe may take (`DURATION`)")
	return cmd
}

type postfixCheckOptions struct {
	mailbox string
	timeout time.Duration
}

// wiringCheck is one run of the check.
type wiringCheck struct {
	checkReport
	postfixCheckOptions
	host   *postfix.Host
	base   *postfix.Baseline
	site   *postfix.Site // as it is
	daemon *socketClient
	lookup postfix.Lookup
}

func checkPostfix(cmd *cobra.Command, o postfixCheckOptions) error {
	c, _, err := loadConfig(cmd)
	if err != nil {
		return err
	}
	k := &wiringCheck{
		checkReport: checkReport{w: cmd.OutOrStdout()}, postfixCheckOptions: o, daemon: newSocketClient(c.AdminSocket()),
	}
	k.lookup.Address, _ = pickListener(c.Lookup.Listeners, "inet", "") // without one, addresses are not resolved
	ctx := cmd.Context()
	if k.host, err = findPostfix(cmd); err != nil {
		k.fail("postfix", err, "install it, or name its configuration with --postfix-config")
		return errSilent
	}
	k.pass("postfix", k.host.Version+", "+k.host.Dir)
	if k.wired(ctx) && k.daemonRuns(ctx) {
		k.bypasses()
		k.unknownRecipient(ctx)
		k.probe(ctx)
	}
	if k.failed {
		return errSilent
	}
	return nil
}

// wired looks at what apply has recorded.
func (k *wiringCheck) wired(ctx context.Context) bool {
	var err error
	if k.base, err = k.host.Undo(); err == nil {
		k.site, err = k.host.Read(ctx, postfix.ParseMain(k.base.CurrentMain), postfix.ParseMaster(k.base.CurrentMaster))
	}
	if err != nil {
		k.fail("wiring", err, "run it as root")
		return false
	}
	s := k.base.State
	if s == nil {
		k.fail("wiring", postfix.ErrNotApplied, "mairust postfix apply")
		return false
	}
	if k.base.Exact {
		k.pass("wiring", fmt.Sprintf("mode %s since %s, as it was written", s.Mode, s.Applied.Format(time.DateTime)))
	} else {
		k.warn("wiring", fmt.Sprintf("mode %s; main.cf or master.cf was changed since", s.Mode), "mairust postfix apply --dry-run shows what is different")
	}
	return true
}

func (k *wiringCheck) daemonRuns(ctx context.Context) bool {
	if _, _, err := k.daemon.do(ctx, http.MethodGet, "/health", nil); err != nil {
		k.fail("mairust", fmt.Errorf("the daemon does not answer: %w", err), "start it (mairust run), and run this as root or its user")
		return false
	}
	k.pass("mairust", "the daemon answers")
	return true
}

func (k *wiringCheck) bypasses() {
	if !k.base.State.Scanned {
		return
	}
	for _, s := range k.site.Bypasses() {
		k.warn("milter", fmt.Sprintf("master.cf line %d: mail that comes in by %s is not scanned", s.Line, s.Name), "mairust postfix apply, or add $mairust_milter to its smtpd_milters")
	}
}

// unknownRecipient offers Postfix an address that nobody has. It sends nothing.
func (k *wiringCheck) unknownRecipient(ctx context.Context) {
	s := k.base.State
	if s.Mode != postfix.Replace || len(s.Domains) == 0 {
		return // who exists is as the site had it
	}
	smtp, err := k.site.SMTPAddress()
	if err != nil {
		k.fail("recipients", err, "add a service smtp inet to master.cf")
		return
	}
	if _, err := k.chooseTarget(ctx); err != nil {
		return // nobody is refused before there is a mailbox, and the probe tells that there is none
	}
	for _, domain := range s.Domains {
		reply, err := postfix.Probe(ctx, smtp, "mairust-probe-"+uuid.NewString()+"@"+domain, nil)
		switch {
		case err != nil:
			k.fail("recipients", fmt.Errorf("%s: %w", smtp, err), "see Postfix's log")
		case reply.Code/100 == 2:
			k.fail("recipients", fmt.Errorf("anybody at %s is taken by Postfix: what nobody has would bounce", domain), "mairust postfix apply")
		case reply.Code == 550 && strings.HasPrefix(reply.Text, "5.1.1"):
			k.pass("recipients", "an unknown one at "+domain+" is refused: "+reply.String())
		case reply.Code/100 == 4:
			k.fail("recipients", fmt.Errorf("an unknown one at %s is put off, not refused: %s", domain, reply), "see that the lookup listener answers: mairust check")
		default:
			k.warn("recipients", "an unknown one at "+domain+" is refused, but not with 550 5.1.1: "+reply.String(), "see unknown_local_recipient_reject_code and your smtpd restrictions")
		}
	}
}

// probe sends a mail and waits for it.
func (k *wiringCheck) probe(ctx context.Context) {
	to, err := k.chooseTarget(ctx)
	if err != nil {
		k.fail("probe", err, "name a mailbox with --mailbox; mairust init makes one")
		return
	}
	smtp, err := k.site.SMTPAddress()
	if err != nil {
		k.fail("probe", err, "add a service smtp inet to master.cf")
		return
	}
	id := "<mairust-probe." + uuid.NewString() + "@" + domainOf(to.address) + ">"
	began := time.Now()
	reply, err := postfix.Probe(ctx, smtp, to.address, probeMessage(to.address, id, began))
	if err == nil && reply.Code/100 != 2 {
		err = fmt.Errorf("it was answered %s", reply)
	}
	if err != nil {
		k.fail("probe", fmt.Errorf("send to %s through %s: %w", to.address, smtp, err), "see Postfix's log")
		return
	}
	m, err := k.await(ctx, to.mailbox, id)
	if err != nil {
		k.fail("probe", err, "see postqueue -p and Postfix's log")
		return
	}
	k.pass("probe", fmt.Sprintf("sent through %s, in %s (%s) after %.1f s", smtp, to, m.Folder, time.Since(began).Seconds()))
	k.verdict(m)
	k.remove(ctx, m)
}

func domainOf(address string) string { return address[strings.LastIndex(address, "@")+1:] }

func probeMessage(mailbox, id string, at time.Time) []byte {
	lines := []string{
		"From: MaiRust probe <" + mailbox + ">", "To: <" + mailbox + ">", "Subject: MaiRust probe", "Message-ID: " + id,
		"Date: " + at.Format(time.RFC1123Z), "MIME-Version: 1.0", "Content-Type: text/plain; charset=us-ascii", "Auto-Submitted: auto-generated", "",
		"This message was sent by `mairust postfix check` to prove that mail arrives.",
		"It may be deleted.", "",
	}
	return []byte(strings.Join(lines, "\r\n"))
}

// await polls the mailbox for a message.
func (k *wiringCheck) await(ctx context.Context, mailbox, messageID string) (*wire.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	query := url.Values{"mailbox": {mailbox}, "limit": {"20"}}
	for {
		var page wire.List[wire.Message]
		err := k.daemon.call(ctx, http.MethodGet, "/api/v1/messages?"+query.Encode(), nil, &page)
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		for _, m := range page.Data {
			if strings.Trim(m.MessageID, "<>") == strings.Trim(messageID, "<>") {
				return &m, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("accepted by Postfix, but not in %s after %s", mailbox, k.timeout)
		case <-tick.C:
		}
	}
}

// verdict says whether MaiRust believes the milter's header.
func (k *wiringCheck) verdict(m *wire.Message) {
	unscanned := slices.Contains(m.Tags, "unscanned")
	switch {
	case !k.base.State.Scanned && unscanned:
		k.pass("milter", "mail is not scanned, as it was applied (--scan none)")
	case unscanned:
		k.fail("milter", errors.New("the probe is tagged unscanned: no verdict of the milter came with it, or something changed the message on its way"),
			"see smtpd_milters, and mairust_lmtp_unscanned_total at /metrics for the reason")
	default:
		k.pass("milter", "the verdict is believed: "+m.Verdict)
	}
}

// remove deletes the probe where the API can.
func (k *wiringCheck) remove(ctx context.Context, m *wire.Message) {
	status, _, err := k.daemon.do(ctx, http.MethodDelete, "/api/v1/messages/"+url.PathEscape(m.ID), nil)
	if err == nil && status/100 == 2 {
		k.pass("cleanup", "the probe was deleted")
		return
	}
	k.pass("cleanup", "the probe stays in the mailbox; it says that it may be deleted")
}
