package store

import (
	"errors"
	"fmt"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// A message whose row the database refuses, for something in it that we let through, would be deferred until Postfix bounces it.
// It gets a row in which there is nothing that its sender wrote: it can be read, and is not found by its words.

// DefectNotIndexed is the defect of such a message.
const DefectNotIndexed = "not_indexed"

// isRefused says whether the database refused what was to be written, and not because it fails.
func isRefused(err error) bool {
	return errors.Is(err, sqldb.ErrData) || errors.Is(err, sqldb.ErrRefused)
}

// commitBare stores the bare row of a job of one copy, whose own was refused.
func (s *Store) commitBare(job *deliveryJob, refused error) error {
	c := job.copies[0]
	c.Content, c.Rcpt = bareContent(c.Content), c.Target.Address
	bare, err := s.newBareJob(c)
	if err != nil {
		return err
	}
	if err := s.commitJobs([]*deliveryJob{bare}, secondTry); err != nil {
		return fmt.Errorf("%w, without what its sender wrote; before: %s", err, refused.Error())
	}
	job.results[0] = bare.results[0]
	if r := job.results[0]; r.Err == nil && !r.Duplicate {
		s.log.Error("the database refused the row of a message, which got one without what its sender wrote", "message_id", string(r.ID), "err", refused)
	}
	return nil
}

// newBareJob says in the row that subject and preview were left out: who shows them reads the object.
func (s *Store) newBareJob(c Copy) (*deliveryJob, error) {
	summary, err := encodeSummary(c.Content.Summary, true)
	if err != nil {
		return nil, err
	}
	row, err := s.encodeRow(&c, summary)
	return &deliveryJob{copies: []Copy{c}, rows: [][]any{row}, results: make([]Result, 1)}, err
}

func bareContent(c *Content) *Content {
	bare := *c
	bare.Summary = &mail.Summary{Defects: []string{DefectNotIndexed}}
	bare.From, bare.QueueID, bare.Host = mail.Address{}, "", ""
	return &bare
}
