package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"syscall"
	"time"
)

// RspamdOptions describe a private rspamd. The zero value is Debian's stock configuration without what would
// ask the Internet or keep state between messages.
type RspamdOptions struct {
	// DNS is the whole world that rspamd can resolve.
	DNS DNSRecords
	// Override are files of override.d: name ("actions.conf") → text.
	Override map[string]string
}

// Rspamd is a private rspamd: one worker for checks, one controller.
type Rspamd struct {
	// Addr is host:port of the worker that answers /checkv2.
	Addr string
	// ControllerAddr is host:port of the controller; its password is ControllerPassword.
	ControllerAddr string

	inst    *instance
	dns     *dnsServer
	program string
	cache   patternCache
}

// ControllerPassword opens the controller of every instance, which listens on loopback only.
const ControllerPassword = "lab"

// rspamdOff are the modules that ask other hosts or need a Redis.
var rspamdOff = []string{"rbl", "fuzzy_check", "asn", "phishing", "url_redirector", "surbl", "neural", "mx_check",
	"greylist", "ratelimit", "history_redis", "replies"}

// StartRspamd starts an rspamd and waits until it answers. The first start of a machine compiles patterns for
// about ten seconds (one process does, others wait); they are kept in the user's cache directory for the next ones.
// Errors: ErrMissing (package rspamd).
func StartRspamd(ctx context.Context, o RspamdOptions) (*Rspamd, error) {
	program, err := findProgram("rspamd", "rspamd")
	if err != nil {
		return nil, err
	}
	as, err := serviceAccount("_rspamd", "nobody")
	if err != nil {
		return nil, err
	}
	cache := rspamdCache(program)
	unlock := cache.lockUntilThere(ctx)
	defer unlock()
	var r *Rspamd
	err = retry(ctx, "rspamd", func(ctx context.Context) error {
		inst, err := newInstance("", "rs", "KILL", as)
		if err != nil {
			return err
		}
		r = &Rspamd{inst: inst, program: program, cache: cache}
		if err := r.configure(o); err != nil {
			return closeAfter(err, r)
		}
		return closeAfter(r.Start(ctx), r)
	})
	if err != nil {
		return nil, err
	}
	if err := cache.save(r.inst.path("db")); err != nil {
		return nil, closeAfter(err, r)
	}
	return r, nil
}

// configure picks ports, starts the DNS server and writes the configuration.
func (r *Rspamd) configure(o RspamdOptions) error {
	worker, errWorker := freePort()
	controller, errController := freePort()
	if err := errors.Join(errWorker, errController); err != nil {
		return err
	}
	r.Addr, r.ControllerAddr = loopback(worker), loopback(controller)
	dns, err := listenDNS(o.DNS)
	if err != nil {
		return err
	}
	r.dns = dns
	for name, text := range r.overrides(o) {
		if err := r.inst.write("conf/override.d/"+name, text); err != nil {
			return err
		}
	}
	for _, dir := range []string{"db", "log", "run"} {
		if err := os.Mkdir(r.inst.path(dir), 0o750); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
	}
	if err := r.cache.load(r.inst.path("db")); err != nil {
		return err
	}
	return r.inst.as.own(r.inst.dir)
}

// overrides are the files of override.d.
func (r *Rspamd) overrides(o RspamdOptions) map[string]string {
	files := map[string]string{
		"worker-normal.inc": fmt.Sprintf("bind_socket = %q;\ncount = 1;\n", r.Addr),
		"worker-controller.inc": fmt.Sprintf("bind_socket = %q;\ncount = 1;\npassword = %q;\nsecure_ip = \"127.0.0.1\";\n",
			r.ControllerAddr, ControllerPassword),
		"worker-proxy.inc": "enabled = false;\n",
		"worker-fuzzy.inc": "enabled = false;\n",
		"logging.inc":      "type = \"console\";\nlevel = \"notice\";\n",
		"options.inc": fmt.Sprintf("dns { nameserver = [%q]; timeout = 1s; retransmits = 2; }\nrrd = \"\";\n"+
			"local_addrs = [];\n", r.dns.addr()),
		// Bayes needs Redis, and answers that depend on what was sent before.
		"statistic.conf": "",
	}
	for _, module := range rspamdOff {
		files[module+".conf"] = "enabled = false;\n"
	}
	for name, text := range o.Override {
		files[name] = text
	}
	return files
}

// Dir is the instance's directory.
func (r *Rspamd) Dir() string { return r.inst.dir }

// URL is the base of the check worker: URL() + "/checkv2".
func (r *Rspamd) URL() string { return "http://" + r.Addr }

// Start brings a stopped rspamd back on the same ports.
func (r *Rspamd) Start(ctx context.Context) error {
	return r.inst.run(ctx, r.ping, r.program, "-f", "-c", "/etc/rspamd/rspamd.conf",
		"--var=LOCAL_CONFDIR="+r.inst.path("conf"), "--var=DBDIR="+r.inst.path("db"),
		"--var=LOGDIR="+r.inst.path("log"), "--var=RUNDIR="+r.inst.path("run"), "-p", r.inst.path("run", "rspamd.pid"))
}

// Stop takes rspamd away at once.
func (r *Rspamd) Stop() { r.inst.stop(syscall.SIGKILL) }

// Log is what rspamd has logged so far.
func (r *Rspamd) Log() string { return readLog(r.inst.path("out.log")) }

// Close stops rspamd and removes what it left.
func (r *Rspamd) Close() error {
	err := r.inst.close(syscall.SIGKILL)
	if r.dns != nil {
		err = errors.Join(err, r.dns.Close())
	}
	return err
}

// ping asks both workers.
func (r *Rspamd) ping(ctx context.Context) error {
	for _, addr := range []string{r.Addr, r.ControllerAddr} {
		if err := httpPing(ctx, "http://"+addr+"/ping"); err != nil {
			return err
		}
	}
	return nil
}

// httpPing gets url and expects a 200.
func httpPing(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<10))
	err = errors.Join(err, res.Body.Close())
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, res.Status)
	}
	return err
}

// rspamdCache is the cache of this rspamd: compiled patterns hold for one build.
func rspamdCache(program string) patternCache {
	st, err := os.Stat(program)
	if err != nil {
		return cacheNamed("rspamd")
	}
	return cacheNamed(fmt.Sprintf("rspamd-%d-%d", st.Size(), st.ModTime().Unix()))
}
