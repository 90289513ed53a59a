package wire

import "time"

// BounceReport is what the log of one Postfix host says, and how the reading of it goes. Sent again it counts once.
type BounceReport struct {
	Host       string     `json:"host" minLength:"1" maxLength:"255" doc:"myhostname of the Postfix, as its milter sees it in {j}."`
	Bounces    []Bounce   `json:"bounces" maxItems:"200" nullable:"false" doc:"Empty: the feed is alive."`
	LastLineAt *time.Time `json:"last_line_at,omitempty" doc:"When the newest line was written that was read."`
	LagBytes   int64      `json:"lag_bytes,omitempty" minimum:"0" doc:"How much of the log waits to be read."`
	LagSeconds float64    `json:"lag_seconds,omitempty" minimum:"0" doc:"Since when the end of the log has not been reached."`
	Gaps       int64      `json:"gaps,omitempty" minimum:"0" doc:"How often lines were gone before they could be read, since the feed began."`
}

// Bounce is a recipient that Postfix gave up because there is no such address.
type Bounce struct {
	At        time.Time `json:"at"`
	QueueID   string    `json:"queue_id" minLength:"5" maxLength:"64"`
	Recipient string    `json:"recipient" minLength:"1" maxLength:"1024" doc:"As the log has it. It is stored as a keyed hash only."`
	DSN       string    `json:"dsn" pattern:"^5\\.1\\.[0-9]{1,3}$" doc:"Enhanced status code."`
}
