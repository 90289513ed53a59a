package lmtp

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/emersion/go-smtp"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// Errors of this package that have replies of their own.
var (
	errTooBig = errors.New("message is over the size limit")
	errNested = errors.New("MAIL within a transaction")
)

// full is the reply when there is no space, wherever.
var full = smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 3, 1}, Message: "Out of storage space, try again later"}

// verdicts are the errors whose replies are not the default, each with the word that stands for it in metrics.
// Only what is certain is permanent: Postfix bounces at once on a 5xx.
var verdicts = []struct {
	err    error
	result string
	reply  smtp.SMTPError
}{
	{store.ErrNotFound, "unknown", smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No such mailbox"}},
	{store.ErrSuspended, "suspended", smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 2, 1}, Message: "Mailbox is suspended, try again later"}},
	{store.ErrQuota, "quota", smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 2, 2}, Message: "Mailbox full"}},
	{store.ErrFull, "disk_full", full},
	{blob.ErrFull, "disk_full", full},
	{syscall.ENOSPC, "disk_full", full},
	{syscall.EDQUOT, "disk_full", full},
	{errTooBig, "too_big", smtp.SMTPError{Code: 552, EnhancedCode: smtp.EnhancedCode{5, 3, 4}, Message: "Message is too big"}},
	{errClient, "client", smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 4, 2}, Message: "Message was not received to its end"}},
	{errNested, "protocol", smtp.SMTPError{Code: 503, EnhancedCode: smtp.EnhancedCode{5, 5, 1}, Message: "Sender was given already"}},
}

// tempfail is the reply to every error that is not among the verdicts.
var tempfail = smtp.SMTPError{
	Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "Mail store is unavailable, try again later",
}

// resultTemp stands for tempfail in metrics.
const resultTemp = "temp"

// toReply gives the reply to an error that is not nil, and the word for it in metrics. It is the only place
// where errors become replies: go-smtp turns any error but an exact *smtp.SMTPError into a permanent 554, so
// nothing else may reach it. What went wrong stands in our log, not in the reply.
func toReply(err error) (reply *smtp.SMTPError, result string) {
	for _, v := range verdicts {
		if errors.Is(err, v.err) {
			r := v.reply
			return &r, v.result
		}
	}
	r := tempfail
	return &r, resultTemp
}

// gone is the reply about a mailbox that was there at RCPT. Whether it is gone for good RCPT says, when the message comes again.
var gone = smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 2, 0}, Message: "The mailbox is not known any more, try again later"}

// toDataReply is toReply for an error that came after RCPT.
func toDataReply(err error) (reply *smtp.SMTPError, result string) {
	if errors.Is(err, store.ErrNotFound) {
		r := gone
		return &r, "unknown"
	}
	return toReply(err)
}

// delivered is the reply to a recipient whose message is stored. The id is for Postfix's log, where an
// administrator starts looking.
func delivered(id store.MessageID) *smtp.SMTPError {
	return &smtp.SMTPError{
		Code: 250, EnhancedCode: smtp.EnhancedCode{2, 1, 5}, Message: fmt.Sprintf("Stored as %s", mail.Clean(string(id), 100)),
	}
}
