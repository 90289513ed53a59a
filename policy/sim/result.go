package sim

// Result of a run.
type Result struct {
	Options Options
	// Policy is the hash of the policy in force.
	Policy  string
	Honest  []HonestRun
	Attacks []AttackRun
}
