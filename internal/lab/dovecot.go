package lab

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// DovecotOptions describe a private Dovecot, the peer that MaiRust is measured against.
type DovecotOptions struct {
	// Format is Dovecot's mailbox format: "sdbox" (default) or "maildir".
	Format string
	// Dir is where its directory is made; default the system's place for temporary files. Close leaves
	// what is in a Dir, for the caller to remove as a whole.
	Dir string
	// Settings are more lines of dovecot.conf.
	Settings string
}

// Dovecot is a private Dovecot with LMTP and IMAP on loopback. Every user exists and has the password "password"; mail
// lies below Dir, and is flushed as Dovecot's defaults have it.
type Dovecot struct {
	// LMTPAddr and IMAPAddr are host:port.
	LMTPAddr, IMAPAddr string
	// LMTPSocket is the unix socket of LMTP, for root.
	LMTPSocket string
	// MailDir is where the users' directories are.
	MailDir string

	inst *instance
}

// mailFormats are the mail_location of each format, below the user's home.
var mailFormats = map[string]string{"": "sdbox:~/sdbox", "sdbox": "sdbox:~/sdbox", "maildir": "maildir:~/Maildir"}

const dovecotConf = `base_dir = %[1]s/run
state_dir = %[1]s/state
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
log_path = %[1]s/dovecot.log
mail_location = %[2]s
mail_uid = %[3]d
mail_gid = %[4]d
first_valid_uid = 1
first_valid_gid = 1
passdb {
  driver = static
  args = password=password
}
userdb {
  driver = static
  args = uid=%[3]d gid=%[4]d home=%[1]s/mail/%%u allow_all_users=yes
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = %[5]d
  }
}
service imap-login {
  inet_listener imap {
    port = %[6]d
  }
  inet_listener imaps {
    port = 0
  }
}
%[7]s
`

// StartDovecot starts a Dovecot. It needs root, as Dovecot does. Errors: ErrNotRoot, ErrMissing (packages
// dovecot-lmtpd, dovecot-imapd).
func StartDovecot(ctx context.Context, o DovecotOptions) (*Dovecot, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("start dovecot: %w: its processes change users", ErrNotRoot)
	}
	program, err := findProgram("dovecot", "dovecot-lmtpd")
	if err != nil {
		return nil, err
	}
	for file, debianPackage := range map[string]string{"lmtp": "dovecot-lmtpd", "imap": "dovecot-imapd"} {
		if _, err := os.Stat("/usr/lib/dovecot/" + file); err != nil {
			return nil, &MissingError{Program: "dovecot " + file, Package: debianPackage}
		}
	}
	format, ok := mailFormats[o.Format]
	if !ok {
		return nil, fmt.Errorf("start dovecot: unknown format %q: use sdbox or maildir", o.Format)
	}
	as, err := serviceAccount("mail", "nobody")
	if err != nil {
		return nil, err
	}
	var d *Dovecot
	err = retry(ctx, "dovecot", func(ctx context.Context) error {
		inst, err := newInstance(o.Dir, "dc", "TERM", nil)
		if err != nil {
			return err
		}
		d = &Dovecot{inst: inst, MailDir: inst.path("mail"), LMTPSocket: inst.path("run", "lmtp")}
		return closeAfter(d.start(ctx, program, format, as, o), d)
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Dovecot) start(ctx context.Context, program, format string, as *account, o DovecotOptions) error {
	lmtp, err := freePort()
	if err != nil {
		return err
	}
	imap, err := freePort()
	if err != nil {
		return err
	}
	d.LMTPAddr, d.IMAPAddr = loopback(lmtp), loopback(imap)
	for _, dir := range []string{"mail", "state", "run"} {
		if err := os.MkdirAll(d.inst.path(dir), 0o755); err != nil { // #nosec G301 -- Dovecot's own users pass through
			return fmt.Errorf("dovecot: %w", err)
		}
	}
	if err := as.own(d.MailDir); err != nil {
		return err
	}
	conf := fmt.Sprintf(dovecotConf, d.inst.dir, format, as.uid, as.gid, lmtp, imap, o.Settings)
	if err := d.inst.write("dovecot.conf", conf); err != nil {
		return err
	}
	return d.inst.run(ctx, d.greets, program, "-F", "-c", d.inst.path("dovecot.conf"))
}

// greets probes both protocols.
func (d *Dovecot) greets(ctx context.Context) error {
	c, err := DialSMTP(ctx, d.LMTPAddr)
	if err != nil {
		return err
	}
	if !strings.Contains(c.Greeting.Text, "ready") {
		err = fmt.Errorf("greeting: %s", c.Greeting)
	}
	return closeAfter(err, c)
}

// Pid is the main process; the others are its children.
func (d *Dovecot) Pid() int { return d.inst.pid() }

// Log is the mail log so far.
func (d *Dovecot) Log() string { return readLog(d.inst.path("dovecot.log")) }

// Close stops Dovecot and removes what it left.
func (d *Dovecot) Close() error { return d.inst.close(syscall.SIGTERM) }
