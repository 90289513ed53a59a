package fsck

import "time"

// Request says what a check is to do. The zero Request looks at both directions and at the counters, and mends nothing.
type Request struct {
	// Repair mends what can be mended, and makes the database the one that the objects belong to.
	Repair bool `json:"repair,omitempty"`
	// Rebuild makes the index from the objects alone, in a database without mailboxes. It implies Repair.
	Rebuild bool `json:"rebuild,omitempty"`
	// DryRun changes nothing, and says what Repair or Rebuild would look at. Without it damaged messages are marked, even
	// if nothing is repaired.
	DryRun bool `json:"dry_run,omitempty"`
	// VerifyContent reads every byte. It goes on where an interrupted one ended, unless Restart is set.
	VerifyContent bool `json:"verify_content,omitempty"`
	Restart       bool `json:"restart,omitempty"`
	// BytesPerSecond bounds that reading; 0 means no bound.
	BytesPerSecond int64 `json:"bytes_per_second,omitempty"`
	// MinAge of an object that must have a row; negative means that of the sweep.
	MinAge time.Duration `json:"min_age"`
}

func (r Request) mends() bool { return (r.Repair || r.Rebuild) && !r.DryRun }

// The kinds of problems.
const (
	// KindDatabase is a database that is not the one that the objects belong to, or a sweep that stopped.
	KindDatabase = "database"
	// KindOrphan is an object without a row.
	KindOrphan = "object_without_row"
	// KindMailbox is a description without a mailbox.
	KindMailbox = "mailbox_without_row"
	// KindTenant is what of a tenant is described, and not in the database.
	KindTenant = "tenant_without_row"
	// KindMissing, KindSize, KindContent and KindUnreadable are messages whose object is not there, has another size or
	// another digest, or cannot be read.
	KindMissing    = "object_missing"
	KindSize       = "object_size"
	KindContent    = "object_content"
	KindUnreadable = "object_unreadable"
	// KindUnlisted is a directory of the object store, or a file, that cannot be read, so that nobody knows what is there.
	KindUnlisted = "unlisted"
	// KindCounters is a counter or quota that differs from what it counts.
	KindCounters = "counters"
	// KindCopy is a decoded copy of an attachment that belongs to nothing.
	KindCopy = "attachment_copy"
	// KindDescription is a mailbox.json or tenant.json that is missing or old.
	KindDescription = "description"
)

// Problem is one thing that is not as it should be.
type Problem struct {
	Kind string `json:"kind"`
	// Key is the object's, Message and Mailbox the ids, as far as they are known.
	Key     string `json:"key,omitempty"`
	Message string `json:"message_id,omitempty"`
	Mailbox string `json:"mailbox_id,omitempty"`
	// What is wrong, in words.
	What string `json:"what"`
	// Mended says that it is in order now; Done what was done, in words.
	Mended bool   `json:"mended"`
	Done   string `json:"done,omitempty"`
}

// Progress is how far a phase has come.
type Progress struct {
	// Phase is objects, messages, content, counters or descriptions.
	Phase string `json:"phase"`
	// Done of Total things; Total is an estimate, and 0 when it is not known.
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
	// DoneBytes of TotalBytes were read; both are 0 where nothing is read.
	DoneBytes  int64 `json:"done_bytes,omitempty"`
	TotalBytes int64 `json:"total_bytes,omitempty"`
	// Problems so far.
	Problems int64 `json:"problems"`
	// Left is how long it will take, zero when that is not known.
	Left time.Duration `json:"left_ns,omitempty"`
}

// Percent is 0 to 100, or -1 when the total is not known.
func (p Progress) Percent() int {
	done, total := p.Done, p.Total
	if p.TotalBytes > 0 {
		done, total = p.DoneBytes, p.TotalBytes
	}
	if total <= 0 {
		return -1
	}
	return int(min(100*done/total, 100))
}

// Event is one thing that is told while a check runs; one of its fields is set.
type Event struct {
	Problem  *Problem  `json:"problem,omitempty"`
	Progress *Progress `json:"progress,omitempty"`
	Report   *Report   `json:"report,omitempty"`
	// Error ends a check that could not be carried out.
	Error string `json:"error,omitempty"`
}

// Report is the result of a check.
type Report struct {
	// Objects and Messages that were looked at, Young objects that were left alone, Verified ones that were read whole.
	Objects  int64 `json:"objects"`
	Young    int64 `json:"young"`
	Messages int64 `json:"messages"`
	Verified int64 `json:"verified"`
	// VerifyBegan is when the run began that has read the others, and was interrupted; zero when there was none.
	VerifyBegan time.Time `json:"verify_began,omitzero"`
	// Aside is how many objects lie below orphan/, which is no problem.
	Aside int64 `json:"aside"`
	// Found problems are Mended or Left.
	Found  int64 `json:"found"`
	Mended int64 `json:"mended"`
	Left   int64 `json:"left"`
	// Kinds counts the found and the mended by kind.
	Kinds map[string]Tally `json:"kinds"`
	// Interrupted says that not everything was looked at.
	Interrupted bool          `json:"interrupted"`
	Took        time.Duration `json:"took_ns"`
}

// Tally counts problems of one kind.
type Tally struct {
	Found  int64 `json:"found"`
	Mended int64 `json:"mended"`
}
