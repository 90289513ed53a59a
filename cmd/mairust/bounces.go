package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/mairust/mairust/api/client"
	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/cmd/internal/command"
	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/internal/listen"
	"github.com/mairust/mairust/policy/bounce"
)

// bouncesOptions are the flags of mairust bounces.
type bouncesOptions struct {
	log                 bounce.Options
	follow, once, start bool
	url, key, ca, state string
	metrics, logFormat  string
	registry            *prometheus.Registry
}

const (
	defaultMailLog   = "/var/log/mail.log"
	defaultFeedState = "/var/lib/mairust/bounces.json"
	// onceTimeout is how long --once tries.
	onceTimeout = 10 * time.Minute
)

func bouncesCommand() *cobra.Command {
	var o bouncesOptions
	cmd := &cobra.Command{
		Use: "bounces", Short: "Ship the bounces of another Postfix host to MaiRust",
		Long: `Reads the log of the Postfix on this host, and reports recipients that do not exist to MaiRust on another host, where they
are evidence for the outbound engine. The host where the milter runs beside Postfix needs no such command: outbound.bounces of its
configuration does the same.

It needs an API key of the role postfix, which can do nothing else, and no configuration, database or keyring. Up to where the log
has been reported is kept in a file, so that a restart neither loses nor repeats lines; while MaiRust cannot be reached the log
waits. What was reported twice counts once.

--follow goes on until SIGTERM. --once reads to the end of the log and ends, for cron. The first start begins at the end of the log
unless --from-start is given. docs/bounces.md tells how to run it as a service.`,
		Example: `  mairust apikey create --role postfix --name mx2        # on the MaiRust host
  mairust bounces --follow --url https://mail.example.com --api-key file:/etc/mairust/bounces.key
  mairust bounces --follow --journal --url https://mail.example.com --api-key env:MAIRUST_API_KEY
  mairust bounces --once --file /var/log/maillog --state /var/lib/mairust/bounces.json --url https://mail.example.com`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd); err != nil {
				return command.Misuse(cmd, err)
			}
			return runBounces(cmd.Context(), o, cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.follow, "follow", false, "go on until SIGTERM")
	f.BoolVar(&o.once, "once", false, "read to the end of the log, report, and end")
	f.StringVar(&o.log.File, "file", "", "Postfix's log (`FILE`); default: "+defaultMailLog)
	f.BoolVar(&o.log.Journal, "journal", false, "read the systemd journal instead")
	f.StringVar(&o.log.Host, "host", "", "myhostname of the Postfix (`NAME`), as its milter sees it; default: what postconf says")
	f.StringVar(&o.log.LogHost, "log-host", "", "take only lines of this host (`NAME`), as the log writes it")
	f.BoolVar(&o.start, "from-start", false, "begin at the beginning of the log when nothing was reported yet")
	f.StringVar(&o.url, "url", os.Getenv("MAIRUST_URL"), "`URL` of MaiRust; default: MAIRUST_URL")
	f.StringVar(&o.key, "api-key", "env:MAIRUST_API_KEY", "where the API key is: env:`NAME` or file:PATH; never the key itself")
	f.StringVar(&o.ca, "ca-file", "", "`FILE` with certificates to trust beside those of the system, in PEM form")
	f.StringVar(&o.state, "state", defaultFeedState, "`FILE` that keeps up to where the log has been reported")
	f.StringVar(&o.metrics, "metrics", "", "`ADDRESS` for /metrics, such as inet:127.0.0.1:9926; none by default")
	f.StringVar(&o.logFormat, "log-format", "text", "of this command's own log: `json` or text")
	f.Lookup("url").DefValue = "" // not what the environment of the reader says
	return cmd
}

func (o *bouncesOptions) check(cmd *cobra.Command) error {
	switch {
	case o.follow == o.once:
		return errors.New("give --follow or --once")
	case o.url == "":
		return errors.New("--url is required: where MaiRust is")
	case o.logFormat != "json" && o.logFormat != "text":
		return errLogFormat
	case o.metrics != "" && o.once:
		return errors.New("--metrics goes with --follow")
	}
	if o.log.File == "" && !o.log.Journal {
		o.log.File = defaultMailLog
	}
	if path, err := filepath.Abs(o.log.File); err == nil && o.log.File != "" {
		o.log.File = path
	}
	if o.log.Host == "" {
		name, err := nameOfPostfix(cmd.Context())
		if err != nil {
			return fmt.Errorf("--host is needed, as Postfix does not tell its name: %w", err)
		}
		o.log.Host = name
	}
	return o.log.Validate()
}

func runBounces(ctx context.Context, o bouncesOptions, out io.Writer) error {
	log, _ := newLog(out, config.Log{Level: "info", Format: o.logFormat})
	sink, err := o.connect()
	if err != nil {
		return err
	}
	o.registry = prometheus.NewRegistry()
	follower, err := bounce.NewFollower(o.log, bounce.FollowerDeps{
		Sink: sink, PositionPath: o.state, FromStart: o.start, Log: log, Registerer: o.registry,
	})
	if err != nil {
		return err
	}
	if o.once {
		ctx, cancel := context.WithTimeout(ctx, onceTimeout)
		defer cancel()
		if err := follower.Once(ctx); err != nil {
			return err
		}
		return follower.Check(ctx)
	}
	stop, err := o.serveMetrics(ctx, log)
	if err != nil {
		return err
	}
	defer stop()
	log.Info("ready", "version", buildVersion(), "host", o.log.Host, "file", o.log.File, "journal", o.log.Journal, "state", o.state)
	follower.Run(ctx)
	log.Info("stopped")
	return nil
}

func (o *bouncesOptions) connect() (*apiSink, error) {
	options := client.Options{URL: o.url, UserAgent: "mairust-bounces/" + buildVersion()}
	var err error
	if options.Key, err = config.Secret(o.key); err != nil {
		return nil, fmt.Errorf("--api-key: %w", err)
	}
	if o.ca != "" {
		if options.CA, err = os.ReadFile(o.ca); err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
	}
	c, err := client.New(options)
	if err != nil {
		return nil, fmt.Errorf("--url: %w", err)
	}
	return &apiSink{c}, nil
}

// serveMetrics serves /metrics where it was asked for, until stop is called.
func (o *bouncesOptions) serveMetrics(ctx context.Context, log *slog.Logger) (stop func(), err error) {
	if o.metrics == "" {
		return func() {}, nil
	}
	l, err := listen.Open(ctx, listen.Options{Address: o.metrics}, ownLimits, listen.Hooks{Name: "metrics", Log: log, Metrics: listen.NewMetrics(o.registry)})
	if err != nil {
		return nil, fmt.Errorf("--metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 20 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics are not served any more", "err", err)
		}
	}()
	return func() {
		_ = server.Close()
		<-served
	}, nil
}

// apiSink reports to the REST API of another host.
type apiSink struct{ client *client.Client }

// Report is a bounce.Sink's. Only what the server will never take is refused: a key that ended may be replaced.
func (s *apiSink) Report(ctx context.Context, r bounce.Report) error {
	w := wire.BounceReport{Host: r.Host, Bounces: []wire.Bounce{}, LagBytes: r.LagBytes, LagSeconds: r.LagSeconds, Gaps: r.Gaps}
	if !r.LastLine.IsZero() {
		at := r.LastLine.UTC()
		w.LastLineAt = &at
	}
	for _, b := range r.Bounces {
		w.Bounces = append(w.Bounces, wire.Bounce{At: b.At.UTC(), QueueID: b.QueueID, Recipient: b.Rcpt, DSN: b.DSN})
	}
	err := s.client.ReportBounces(ctx, w)
	var p *client.Problem
	if errors.As(err, &p) {
		switch p.Status {
		case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
			return fmt.Errorf("%w: %w", bounce.ErrRefused, err)
		}
	}
	return err
}
