package ui

// For fuzzing.
var (
	ParseResults = parseResults
	OwnResults   = ownResults
	NewSenders   = newSenders
)
