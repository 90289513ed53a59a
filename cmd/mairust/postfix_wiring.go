package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/cmd/internal/command"
	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/internal/listen"
	"github.com/mairust/mairust/internal/postfix"
)

// wiringOptions are the flags of what plans a wiring.
type wiringOptions struct {
	mode, recipients, scan, action, socket string
	domains                                []string
}

func (o *wiringOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.mode, "mode", "replace", "`MODE`: replace, pilot or copy")
	f.StringVar(&o.recipients, "recipients", "", "`FILE` with the addresses of a pilot, one on a line")
	f.StringSliceVar(&o.domains, "domain", nil, "`DOMAIN` to switch or copy; default: every one that both Postfix and MaiRust have; may be repeated")
	f.StringVar(&o.scan, "scan", "", "`WHAT` passes MaiRust's milter: all or none; default: all in mode replace, else none, since a milter sees the mail of everybody")
	f.StringVar(&o.action, "milter-default-action", "", "`ACTION` of Postfix while the milter is away: tempfail, accept or quarantine; default tempfail")
	f.StringVar(&o.socket, "socket", "inet", "`KIND` of MaiRust's listeners that Postfix connects to: inet or unix")
}

// check finds wrong calls, and fills in what depends on the mode.
func (o *wiringOptions) check() (postfix.Mode, error) {
	mode, err := postfix.ParseMode(o.mode)
	switch {
	case err != nil:
		return "", fmt.Errorf("--mode: %w", err)
	case mode == postfix.Pilot && o.recipients == "":
		return "", errors.New("--mode pilot needs --recipients FILE")
	case mode != postfix.Pilot && o.recipients != "":
		return "", errors.New("--recipients is for --mode pilot")
	case mode == postfix.Pilot && len(o.domains) > 0:
		return "", errors.New("--domain is for the modes replace and copy; a pilot has --recipients")
	case !slices.Contains([]string{"", "all", "none"}, o.scan):
		return "", fmt.Errorf("--scan %s: use all or none", o.scan)
	case !slices.Contains([]string{"", "tempfail", "accept", "quarantine"}, o.action):
		return "", fmt.Errorf("--milter-default-action %s: use tempfail, accept or quarantine", o.action)
	case o.socket != "inet" && o.socket != "unix":
		return "", fmt.Errorf("--socket %s: use inet or unix", o.socket)
	}
	if o.scan == "" {
		o.scan = "none"
		if mode == postfix.Replace {
			o.scan = "all"
		}
	}
	return mode, nil
}

// wiring is a Postfix and what shall become of it.
type wiring struct {
	host    *postfix.Host
	config  *config.Config
	flags   wiringOptions
	options postfix.Options
	base    *postfix.Baseline
	site    *postfix.Site // without our settings
	planned *postfix.Plan
	remarks []postfix.Note
}

// newWiring reads the flags, MaiRust's configuration, and Postfix's.
func newWiring(cmd *cobra.Command, o wiringOptions) (*wiring, error) {
	mode, err := o.check()
	if err != nil {
		return nil, command.Misuse(cmd, err)
	}
	w := &wiring{flags: o, options: postfix.Options{Mode: mode, Domains: o.domains}}
	if o.recipients != "" {
		if w.options.Recipients, err = readRecipients(o.recipients); err != nil {
			return nil, err
		}
	}
	if w.config, _, err = loadConfig(cmd); err != nil {
		return nil, err
	}
	if w.host, err = findPostfix(cmd); err != nil {
		return nil, err
	}
	if w.base, err = w.host.Undo(); err != nil {
		return nil, err
	}
	w.site, err = w.host.Read(cmd.Context(), postfix.ParseMain(w.base.Main), postfix.ParseMaster(w.base.Master))
	return w, err
}

func readRecipients(path string) ([]postfix.Recipient, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--recipients: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	list, err := postfix.ReadRecipients(f)
	if err != nil {
		return nil, fmt.Errorf("--recipients %s: %w", path, err)
	}
	return list, nil
}

// plan decides what to write. ask may be nil: then nothing is asked, and every answer is the usual one.
func (w *wiring) plan(ctx context.Context, ask *questions) error {
	if err := w.addresses(); err != nil {
		return err
	}
	w.directory(ctx)
	o := &w.options
	o.MilterAction = w.flags.action
	o.MaxMessageBytes, o.RecipientDelimiter = w.config.LMTP.MaxMessageBytes, w.config.LMTP.RecipientDelimiter
	if ask != nil {
		if o.Milter != "" && o.MilterAction == "" {
			o.MilterAction = ask.choose("While MaiRust's milter is away, shall senders try again later (tempfail), or mail come in unscanned (accept)?", "tempfail", "accept")
		}
		o.Adapt = func(s postfix.Service) bool {
			return ask.yes(fmt.Sprintf("%s in master.cf (line %d) has overrides that bypass MaiRust's milter. Add it there?", s.Name, s.Line), true)
		}
	}
	var err error
	w.planned, err = postfix.Make(ctx, w.site, *o)
	return err
}

func (w *wiring) notes() []postfix.Note {
	return slices.Concat(w.base.Notes, w.remarks, w.planned.Notes)
}

// directory has MaiRust asked for its domains, when it runs.
func (w *wiring) directory(ctx context.Context) {
	address, err := pickListener(w.config.Lookup.Listeners, "inet", "")
	if err != nil {
		return // addresses has said so
	}
	l := postfix.Lookup{Address: address}
	if _, err := l.Domain(ctx, "mairust.invalid"); err != nil {
		w.remarks = append(w.remarks, postfix.Note{
			Warn: true, Text: "MaiRust does not answer, so mail waits until it does: " + err.Error(), Mend: "start it: mairust run",
		})
		return
	}
	w.options.Directory = l
}

// addresses finds the listeners that Postfix can reach.
func (w *wiring) addresses() error {
	c, o := w.config, &w.options
	var errs []error
	pick := func(section string, list []listen.Options, role string) string {
		address, err := pickListener(list, w.flags.socket, role)
		if err == nil {
			address, err = w.site.Reach(address)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s.listeners: %w", section, err))
		}
		return address
	}
	o.LMTP = pick("lmtp", c.LMTP.Listeners, "")
	o.Lookup = pick("lookup", c.Lookup.Listeners, "")
	if w.flags.scan == "all" {
		o.Milter = pick("milter", c.Milter.Listeners, "auto")
		if slices.ContainsFunc(c.Milter.Listeners, func(l listen.Options) bool { return l.Role == "local" }) {
			o.LocalMilter = pick("milter", c.Milter.Listeners, "local")
		}
	}
	return errors.Join(errs...)
}

// pickListener finds a listener of the wanted kind, or else of the other. For the milter, role is auto or local; auto
// takes a listener for inbound mail where there is none for everything.
func pickListener(list []listen.Options, kind, role string) (string, error) {
	roles := []string{role}
	if role == "auto" {
		roles = []string{"auto", "", "inbound"}
	}
	other := map[string]string{"inet": "unix", "unix": "inet"}[kind]
	for _, kind := range []string{kind, other} {
		for _, role := range roles {
			for _, l := range list {
				if l.Role != role || l.TLS == listen.TLSImplicit {
					continue
				}
				if address, ok := asPostfix(l.Address, kind); ok {
					return address, nil
				}
			}
		}
	}
	return "", errors.New("none that Postfix can connect to: a unix socket, or an inet address with a fixed port and without implicit TLS")
}

// asPostfix spells a listener's address for Postfix, if it is of the kind.
func asPostfix(address, kind string) (string, bool) {
	network, rest, _ := strings.Cut(address, ":")
	if network == "unix" || kind == "unix" {
		return address, network == kind
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil || port == "0" {
		return "", false
	}
	switch host {
	case "", "0.0.0.0", "localhost":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	return "inet:" + net.JoinHostPort(host, port), true
}
