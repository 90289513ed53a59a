package api

import "github.com/mairust/mairust/internal/mail"

// ContentDispositionOf is the field that a part is answered with.
func ContentDispositionOf(p mail.Part) string { return contentDisposition(fileName(p)) }
