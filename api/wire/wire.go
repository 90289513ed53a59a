// Package wire is the JSON of the REST API, for the server and its clients alike. It imports none of our
// packages. Times are RFC 3339 in UTC; ids are UUIDs in text form.
package wire

// List is one page of things.
type List[T any] struct {
	Data       []T        `json:"data" nullable:"false"`
	Pagination Pagination `json:"pagination"`
}

// Pagination tells how to go on.
type Pagination struct {
	// Cursor is given back as the query parameter cursor, with the same filters; empty on the last page.
	Cursor  string `json:"cursor,omitempty" doc:"Give it back as the query parameter cursor, with the same filters. Absent on the last page."`
	HasMore bool   `json:"has_more"`
}

// Problem is an error (RFC 9457), sent as application/problem+json.
type Problem struct {
	Type   string `json:"type" example:"about:blank" doc:"Always about:blank: title is the HTTP status, code tells more."`
	Title  string `json:"title" example:"Not Found"`
	Status int    `json:"status" example:"404"`
	// Detail is for people, in English or Japanese after Accept-Language.
	Detail string `json:"detail,omitempty" doc:"For people, in English or Japanese after Accept-Language."`
	// Code is for programs and does not change.
	Code      string  `json:"code" example:"not_found" doc:"For programs; never changes."`
	RequestID string  `json:"request_id,omitempty" doc:"Names this request in the server's log."`
	Errors    []Fault `json:"errors,omitempty" nullable:"false" doc:"What is wrong with which part of the request."`
}

// Fault is one thing wrong with a request.
type Fault struct {
	Location string `json:"location,omitempty" example:"query.limit"`
	Message  string `json:"message"`
}
