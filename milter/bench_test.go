package milter_test

import (
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/milter"
)

// quiet serves a milter without a log on one socket.
func quiet(b *testing.B, sources ...milter.Source) (socket string) {
	b.Helper()
	socket = filepath.Join(labtest.ShortDir(b), "m.sock")
	s, err := milter.New(milter.Options{}, milter.Deps{MAC: testMAC, Sources: sources})
	require.NoError(b, err)
	ln := listenUnix(b, socket)
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), ln, "") }()
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(b, s.Shutdown(ctx))
		require.NoError(b, <-served)
	})
	return socket
}

// BenchmarkSession is what the milter alone can do: messages with a body of 8 KiB on one connection,
// each judged by one check, without Postfix.
func BenchmarkSession(b *testing.B) {
	for name, sources := range map[string][]milter.Source{
		"no checks": nil,
		"one check": {says(mail.Verdict{Action: mail.Tag, Tags: []string{"spam"}})},
	} {
		b.Run(name, func(b *testing.B) {
			session := client(b, &served{socket: quiet(b, sources...)})
			body := []byte(strings.Repeat(strings.Repeat("x", 70)+"\r\n", 8<<10/72))
			for b.Loop() {
				deliver(b, session, body)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}

// BenchmarkConnection is a whole connection with the packets that Postfix sends, from handshake to quit.
func BenchmarkConnection(b *testing.B) {
	socket := quiet(b, says(mail.Verdict{}))
	raw := conversation(strings.Repeat(strings.Repeat("x", 70)+"\r\n", 8<<10/72))
	answers := make([]byte, 64<<10)
	for b.Loop() {
		conn, err := net.Dial("unix", socket)
		require.NoError(b, err)
		_, err = conn.Write(raw)
		require.NoError(b, err)
		for err == nil {
			_, err = conn.Read(answers)
		}
		require.NoError(b, conn.Close())
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

// BenchmarkPostfix sends messages of 8 KiB with smtp-source over 20 sessions at once, with and without
// the milter; Postfix discards them. The ratio of both is what the milter costs a site.
func BenchmarkPostfix(b *testing.B) {
	const messages = 2000
	plain := labtest.Postfix(b, lab.PostfixOptions{})
	milterd := labtest.Postfix(b, lab.PostfixOptions{Milter: "unix:" + quiet(b, says(mail.Verdict{Action: mail.Tag, Tags: []string{"spam"}}))})
	flood := func(pf *lab.Postfix) float64 {
		start := time.Now()
		cmd := exec.Command("smtp-source", "-s", "20", "-m", strconv.Itoa(messages), "-l", "8192", "-f", "a@sender.test", "-t", "bob@example.test", pf.SMTPAddr)
		out, err := cmd.CombinedOutput()
		require.NoError(b, err, "%s", out)
		return messages / time.Since(start).Seconds()
	}
	var without, with float64
	rounds := 0.0
	for b.Loop() {
		without += flood(plain)
		with += flood(milterd)
		rounds++
	}
	b.ReportMetric(without/rounds, "plain-msgs/s")
	b.ReportMetric(with/rounds, "milter-msgs/s")
	b.ReportMetric(with/without, "ratio")
}
