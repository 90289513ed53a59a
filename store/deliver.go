package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"time"

	"github.com/mairust/mairust/internal/mail"
)

// Content is what all copies of one message share.
type Content struct {
	// From is the envelope sender.
	From    mail.Address
	Summary *mail.Summary
	// SizeBytes and Digest (SHA-256) are those of the object: the Return-Path line and the bytes as received.
	SizeBytes int64
	Digest    [32]byte
	// Pieces are the digests of the object's pieces, from blob.Digester; empty for a short one.
	Pieces   string
	Received time.Time
	// QueueID and Host name the message in Postfix; empty when unknown.
	QueueID, Host string
	// Scan is the milter's verdict; the zero Verdict when there was none.
	Scan mail.Verdict
}

// Copy is one message for one mailbox, whose object is stored and durable already, or about to be: see DeliverWhile.
type Copy struct {
	// ID is new, from NewMessageID.
	ID     MessageID
	Target Target
	// Rcpt is the recipient as RCPT had it.
	Rcpt mail.Address
	// Folder is made when the mailbox has none of this name.
	Folder string
	// Key is where the object is: ObjectKey.
	Key string
	// DeliveryID tells a message that is sent again from a new one: two copies with the same id are never
	// stored. It is of one mailbox only, see the function. Empty means that nothing is compared.
	DeliveryID string
	Tags       []string
	// Recovered marks a message that was accepted before, whose row was lost: neither quota nor suspension keep it out.
	Recovered bool
	Content   *Content
}

// Result is the fate of one Copy.
type Result struct {
	// ID is the stored message: the copy's own, or when Duplicate the earlier one's.
	ID        MessageID
	Duplicate bool
	// Err nil means stored and durable. ErrNotFound (the mailbox is gone), ErrSuspended and ErrQuota are
	// decided before the commit, and ErrNotStored is a fault before it: surely nothing was stored. With any other
	// error the copy may have been stored: its object must be kept.
	Err error
}

// NewMessageID makes the id of a message to be delivered.
func NewMessageID() MessageID { return MessageID(newID()) }

// maxQueueID is as much of a queue id as orders messages of one second.
const maxQueueID = 16

// DeliveryID is the same when an MTA sends a message again because our 250 was lost: the digest of the object covers the
// sender (in Return-Path) and the bytes, among them the MTA's queue id in the topmost Received field. Without such a field
// nothing tells that from a message that was sent twice on purpose, and the id is empty.
//
// It begins with the time of that field and the queue id, which with Postfix begins with the microseconds: ids that are
// made one after the other are then beside each other in the index, not each on a page of its own.
func DeliveryID(mailbox MailboxID, top mail.Received, digest [32]byte) string {
	if top.ID == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(string(mailbox) + "\x00" + hex.EncodeToString(digest[:])))
	at := uint32(max(0, min(top.At.Unix(), math.MaxUint32)))
	return fmt.Sprintf("%08x.%s.%s", at, mail.Clean(top.ID, maxQueueID), base64.RawURLEncoding.EncodeToString(sum[:]))
}

// ObjectKey is where the object of a message is kept, on every backend.
func ObjectKey(t TenantID, m MailboxID, id MessageID) string {
	return fmt.Sprintf("%s/%s/%s.eml", t, m, id)
}

// Deliver stores the index rows of copies, together with those of other callers in one transaction (in
// several, when there are very many), and returns one Result for each, in order. A nil Err means that the row
// survives a power cut.
//
// The work is not cut short by ctx, whose end would leave the outcome unknown, but it is bounded in time.
// A mailbox must not occur twice among the copies.
func (s *Store) Deliver(_ context.Context, copies []Copy) []Result {
	summaries, err := s.encodeSummaries(copies)
	if err != nil {
		return failed(len(copies), err)
	}
	results := make([]Result, 0, len(copies))
	for len(copies) > 0 {
		n, sum := fitting(copies, summaries)
		results = append(results, s.deliver(copies[:n], summaries, sum)...)
		copies = copies[n:]
	}
	return results
}

// fitting is how many of the first copies go into one transaction, and what they put into it.
func fitting(copies []Copy, summaries map[*Content]string) (n int, sum cost) {
	for n < len(copies) {
		more := sum.plus(cost{1, len(summaries[copies[n].Content])})
		if n > 0 && !more.fits() {
			break
		}
		n, sum = n+1, more
	}
	return n, sum
}

func (s *Store) deliver(copies []Copy, summaries map[*Content]string, sum cost) []Result {
	job, err := s.newJob(copies, summaries)
	if err != nil {
		return failed(len(copies), err)
	}
	job.cost = sum
	s.commits.Do(job)
	return job.results
}

func (s *Store) newJob(copies []Copy, summaries map[*Content]string) (*deliveryJob, error) {
	job := &deliveryJob{copies: copies, rows: make([][]any, len(copies))}
	for i := range copies {
		var err error
		if job.rows[i], err = s.encodeRow(&copies[i], summaries[copies[i].Content]); err != nil {
			return nil, err
		}
	}
	job.results = failed(len(copies), fmt.Errorf("%w: delivery was not decided", ErrUnavailable))
	return job, nil
}

// failed is n times the same error.
func failed(n int, err error) []Result {
	results := make([]Result, n)
	for i := range results {
		results[i] = Result{Err: err}
	}
	return results
}

// fail sets every result of the job.
func (j *deliveryJob) fail(err error) {
	for i := range j.results {
		j.results[i] = Result{Err: err}
	}
}
