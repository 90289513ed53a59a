// Package subject fills in what the index does not hold of messages: where the operator keeps the words of mail out of the
// database, subjects and names of files are read from the objects when somebody looks at a message.
package subject

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// Index is the index, with what is missing in its answers. Its other methods are those of the store.
type Index struct {
	*store.Store
	objects *blob.Verifier
	log     *slog.Logger
}

// New makes an Index. log may be nil.
func New(s *store.Store, objects blob.Getter, log *slog.Logger) *Index {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Index{Store: s, objects: blob.NewVerifier(objects), log: log}
}

const (
	// headerBytes is how much of an object is read for its subject.
	headerBytes = 64 << 10
	// partHeaderBytes is how much before a part's body is read for the name of its file.
	partHeaderBytes = 8 << 10
	// maxNamed is of how many parts of a message names are read.
	maxNamed = 100
	// readersAtOnce is how many messages of a list are read at once.
	readersAtOnce = 8
	// patience is how long one answer waits for objects: without an object store it is an answer all the same.
	patience = 3 * time.Second
)

// Message finds a message, with its subject and the names of its files. While its object cannot be read these are empty.
func (x *Index) Message(ctx context.Context, sc store.Scope, id store.MessageID) (*store.Message, error) {
	m, err := x.Store.Message(ctx, sc, id)
	if err != nil || !m.Omitted {
		return m, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if isBare(m) {
		err = x.fillAll(ctx, m)
	} else if err = x.fillSubject(ctx, m); err == nil {
		err = x.fillNames(ctx, m)
	}
	x.note(m, err)
	return m, nil
}

// isBare says whether the database has nothing of what the sender wrote.
func isBare(m *store.Message) bool { return slices.Contains(m.Defects, store.DefectNotIndexed) }

// fillAll reads the whole message.
func (x *Index) fillAll(ctx context.Context, m *store.Message) error {
	r, err := x.objects.Open(ctx, want(m), 0, -1)
	if err != nil {
		return fmt.Errorf("open object: %w", err)
	}
	s, err := mail.Summarize(r, mail.Limits{})
	if err := errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("read object: %w", err)
	}
	m.Subject, m.From, m.ReplyTo, m.To, m.Cc, m.Date = s.Subject, s.From, s.ReplyTo, s.To, s.Cc, s.Date
	m.HeaderMessageID, m.InReplyTo, m.Preview = s.MessageID, s.InReplyTo, s.Preview
	m.Parts, m.HasAttachments = s.Parts, len(s.Attachments()) > 0
	m.Defects = append(m.Defects, s.Defects...)
	return nil
}

// Messages lists messages with their subjects. When the object store fails, as opposed to one object, the rest of the list
// is not asked for.
func (x *Index) Messages(ctx context.Context, sc store.Scope, f store.MessageFilter) ([]store.Message, error) {
	list, err := x.Store.Messages(ctx, sc, f)
	if err != nil {
		return nil, err
	}
	work := make(chan *store.Message, len(list))
	for i := range list {
		if list[i].Omitted {
			work <- &list[i]
		}
	}
	close(work)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var group sync.WaitGroup
	for range min(readersAtOnce, len(work)) {
		group.Go(func() {
			for m := range work {
				if ctx.Err() != nil {
					return
				}
				err := x.fillSubject(ctx, m)
				x.note(m, err)
				if err != nil && !isOfOne(err) {
					cancel()
				}
			}
		})
	}
	group.Wait()
	return list, nil
}

// isOfOne says that an error is about one object, or one tenant's, not about the object store.
func isOfOne(err error) bool {
	return errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrDamaged) || errors.Is(err, blob.ErrNoKey)
}

// note tells why something stays empty. It is no error of the list: what the index holds is right. What others gave up is
// told once.
func (x *Index) note(m *store.Message, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		x.log.Warn("subject not read", "message_id", string(m.ID), "key", m.Key, "err", err)
	}
}

// fillSubject reads the header of a message.
func (x *Index) fillSubject(ctx context.Context, m *store.Message) error {
	raw, err := x.read(ctx, m, 0, headerBytes)
	if err != nil {
		return err
	}
	s, err := mail.Summarize(bytes.NewReader(raw), mail.Limits{})
	if err != nil {
		return err
	}
	m.Subject = s.Subject
	if isBare(m) {
		m.From, m.Date = s.From, s.Date
	}
	return nil
}

// fillNames reads the header of each part that has bytes of its own. It ends where the part's body begins.
func (x *Index) fillNames(ctx context.Context, m *store.Message) error {
	for i := range m.Parts[:min(len(m.Parts), maxNamed)] {
		p := &m.Parts[i]
		if strings.HasPrefix(p.Type, "multipart/") || p.Offset <= 0 {
			continue
		}
		from := max(0, p.Offset-partHeaderBytes)
		raw, err := x.read(ctx, m, from, p.Offset-from)
		if err != nil {
			return err
		}
		s, err := mail.Summarize(bytes.NewReader(lastHeader(raw, p.Depth)), mail.Limits{})
		if err != nil {
			return err
		}
		if len(s.Parts) > 0 {
			p.Name = s.Parts[0].Name
		}
	}
	return nil
}

// lastHeader is the header that ends raw: that of a part begins after the boundary before it (RFC 2046, 5.1.1), that of the
// message itself with the object.
func lastHeader(raw []byte, depth int) []byte {
	at := bytes.LastIndex(raw, []byte("\n--"))
	if depth == 0 || at < 0 {
		return raw
	}
	_, header, _ := bytes.Cut(raw[at+1:], []byte("\n"))
	return header
}

func want(m *store.Message) blob.Want {
	return blob.Want{Key: m.Key, SizeBytes: m.SizeBytes, Digest: m.Digest, Pieces: m.Pieces}
}

// read reads up to n bytes from offset of a message's object.
func (x *Index) read(ctx context.Context, m *store.Message, offset, n int64) ([]byte, error) {
	r, err := x.objects.Open(ctx, want(m), offset, n)
	if err != nil {
		return nil, fmt.Errorf("open object: %w", err)
	}
	raw, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	return raw, nil
}
