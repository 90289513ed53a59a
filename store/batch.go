package store

// deliveryJob is one Deliver call on its way through a batch: one transaction commits those of many sessions.
type deliveryJob struct {
	copies []Copy
	// rows are the values of encodeRow for each copy.
	rows [][]any
	// cost is that of all copies.
	cost cost
	// object is that of all copies; nil when it is stored.
	object  *putting
	results []Result
}

// Bounds of one transaction: it must stay short, since others wait for the writer.
const (
	maxBatchCopies       = 256
	maxBatchSummaryBytes = 4 << 20
)

// cost is what a job puts into its batch.
type cost struct{ copies, summaryBytes int }

func (c cost) plus(more cost) cost {
	return cost{c.copies + more.copies, c.summaryBytes + more.summaryBytes}
}

func (c cost) fits() bool {
	return c.copies <= maxBatchCopies && c.summaryBytes <= maxBatchSummaryBytes
}

// singles gives a job for each copy, whose result is that of the copy. The object is stored.
func (j *deliveryJob) singles() []*deliveryJob {
	all := make([]*deliveryJob, len(j.copies))
	for i := range j.copies {
		all[i] = &deliveryJob{copies: j.copies[i : i+1], rows: j.rows[i : i+1], results: j.results[i : i+1]}
	}
	return all
}

// takeBatch is how many of the oldest jobs go into one transaction.
func takeBatch(waiting []*deliveryJob) int {
	n, sum := 0, cost{}
	for n < len(waiting) {
		sum = sum.plus(waiting[n].cost)
		if n > 0 && !sum.fits() {
			break
		}
		n++
	}
	return n
}
