package ui

import (
	"net/http"

	"github.com/mairust/mairust/internal/alert"
	"github.com/mairust/mairust/internal/auth"
)

// systemView is what the page about the installation's health shows.
type systemView struct {
	Parts []systemPart
	// Detailed says that errors are shown as they are: they may name hosts and paths.
	Detailed bool
}

// systemPart is one part of the installation.
type systemPart struct {
	alert.State
	// Word is works, failing, attention when mail flows all the same, or settling: it works, and has yet to prove that
	// it stays so.
	Word string
}

// SeesSystem tells whether the role is told how the installation is.
func (p *page) SeesSystem() bool {
	return p.s.d.Watch != nil && p.SignedIn() && (p.Who.Role == auth.SuperAdmin || p.Who.Role == auth.TenantAdmin)
}

// Alerts are the parts that fail, for the line above every page; none for whom that is no business of.
func (p *page) Alerts() (names []string) {
	if !p.SeesSystem() {
		return nil
	}
	for _, s := range p.s.d.Watch.States() {
		if s.Active {
			names = append(names, s.Part)
		}
	}
	return names
}

// showSystem tells how each part is.
func (s *Server) showSystem(p *page) error {
	if !p.SeesSystem() {
		return problemNotFound
	}
	v := systemView{Detailed: p.Who.Role == auth.SuperAdmin}
	for _, state := range s.d.Watch.States() {
		v.Parts = append(v.Parts, systemPart{State: state, Word: wordFor(state)})
	}
	p.Nav, p.Title = "system", p.T("system.title")
	if err := s.beside(p); err != nil {
		return err
	}
	return p.show(http.StatusOK, "system", v)
}

func wordFor(s alert.State) string {
	switch {
	case s.Active && s.Err == "":
		return "settling"
	case s.Active && s.Essential:
		return "failing"
	case s.Active:
		return "attention"
	default:
		return "works"
	}
}
