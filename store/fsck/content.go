package fsck

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// content is what an object says of itself.
type content struct {
	sizeBytes int64
	digest    [32]byte
	pieces    string
	// body is what the scan header speaks of.
	body    [32]byte
	from    mail.Address
	summary *mail.Summary
	// scan is the value of the first scan header, empty when there is none.
	scan string
}

// headBytes is how much of an object is searched for its Return-Path and scan header, as LMTP does.
const headBytes = 1 << 20

// encryptedBegin is what encrypted objects begin with (package crypt), and no message: those begin with their Return-Path.
const encryptedBegin = "age-encryption.org/v1\n-> mairust "

// is says whether these are the bytes of which a row speaks.
func (c *content) is(row store.ObjectState) bool {
	return row.Digest == hex.EncodeToString(c.digest[:]) && row.SizeBytes == c.sizeBytes
}

// content reads an object whole. blob.ErrKeyLocked also when encryption is not set up, so that its bytes come as they are stored.
func (f *Fsck) content(ctx context.Context, key string) (*content, error) {
	r, info, err := f.objects.Get(ctx, key, 0, -1)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // it was only read
	digest, body, head := blob.NewDigester(), mail.NewMessageBodyHash(), &head{}
	counted := &counter{}
	tee := io.TeeReader(stoppable{ctx, r}, io.MultiWriter(digest, body, head, counted))
	summary, err := f.summarize(tee, key)
	if err == nil {
		_, err = io.Copy(io.Discard, tee) // what is left when summing up broke off
	}
	if err == nil && counted.n != info.SizeBytes {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if bytes.HasPrefix(head.Bytes(), []byte(encryptedBegin)) {
		return nil, fmt.Errorf("read %s: %w: encryption is not set up", key, blob.ErrKeyLocked)
	}
	if summary == nil {
		summary = &mail.Summary{SizeBytes: counted.n}
	}
	c := &content{sizeBytes: counted.n, digest: digest.Sum(), pieces: digest.Pieces(), body: body.Sum(), summary: summary}
	c.from, c.scan = head.read()
	return c, nil
}

// summarize gives nil when a bug made it panic: the message is kept with an empty summary, as LMTP does.
func (f *Fsck) summarize(r io.Reader, key string) (s *mail.Summary, err error) {
	defer func() {
		if p := recover(); p != nil {
			f.log.Error("panic while a message was summarised", "key", key, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			s, err = nil, nil
		}
	}()
	return mail.Summarize(r, mail.Limits{})
}

// What a recovered message is tagged with.
const (
	tagRecovered = "recovered"
	tagUnscanned = "unscanned"
)

// Bounds of a verdict's age at delivery, as LMTP has them.
const (
	maxScanAge   = 7 * 24 * time.Hour
	maxClockSkew = 5 * time.Minute
)

// place gives folder, tags and verdict as LMTP would have given them when the message was received. A verdict that cannot
// be verified is not believed, but for one: what says of itself that it was quarantined stays so. The key of its MAC may
// have been retired since, and who forges it harms his own mail alone.
func (f *Fsck) place(c *content, received time.Time) (folder string, tags []string, verdict mail.Verdict) {
	scan, err := mail.ParseScan(c.scan, c.from, c.body, f.verify)
	age := received.Sub(scan.Time)
	if err != nil || age > maxScanAge || age < -maxClockSkew || scan.QueueID == "" || scan.QueueID != c.summary.Top.ID {
		claim, err := mail.ParseScan(c.scan, c.from, c.body, func(string, ...string) error { return nil })
		folder = store.Inbox
		if err == nil && claim.Action >= mail.Quarantine {
			folder = store.Quarantine
		}
		return folder, []string{tagUnscanned, tagRecovered}, mail.Verdict{}
	}
	folder = store.Inbox
	if scan.Action >= mail.Quarantine {
		folder = store.Quarantine
	}
	verdict = mail.Verdict{Action: scan.Action, Tags: scan.Tags, Score: scan.Score}
	return folder, append(append([]string{}, scan.Tags...), tagRecovered), verdict
}

// head keeps the beginning of what is written to it.
type head struct{ bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	if room := headBytes - h.Len(); room > 0 {
		_, _ = h.Buffer.Write(p[:min(room, len(p))]) // never fails
	}
	return len(p), nil
}

// read gives the envelope sender, from the Return-Path line that every object begins with, and the first scan header.
func (h *head) read() (from mail.Address, scan string) {
	first := true
	for line := range bytes.Lines(h.Bytes()) {
		text := strings.TrimRight(string(line), "\r\n")
		switch folded := text != "" && (text[0] == ' ' || text[0] == '\t'); {
		case text == "", scan != "" && !folded:
			return from, scan
		case scan != "":
			scan += "\r\n" + text
		case first:
			if path, ok := strings.CutPrefix(text, "Return-Path: "); ok {
				from = mail.ReadPath(path)
			}
		default:
			if name, value, ok := strings.Cut(text, ":"); ok && strings.EqualFold(strings.TrimRight(name, " \t"), mail.ScanField) {
				scan = value
			}
		}
		first = false
	}
	return from, scan
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// stoppable ends with its context.
type stoppable struct {
	ctx context.Context //nolint:containedctx // an io.Reader has no other way to get it
	r   io.Reader
}

func (s stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}
