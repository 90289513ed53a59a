package ui

import "html/template"

// icons are drawn on 16 × 16, in the colour of the text. They stand beside words, and say nothing by themselves.
var icons = map[string]string{
	"inbox":      `<path d="M2 9l2-6h8l2 6v4H2zM2 9h4l1 2h2l1-2h4"/>`,
	"quarantine": `<path d="M8 1.8l5.5 2v4c0 3.2-2.3 5.4-5.5 6.4C4.8 13.200 2.500 11 2.500 7.800v-4zM6 6l4 4m0-4l-4 4"/>`,
	"archive":    `<path d="M2 3h12v3H2zM3 6v7h10V6M6.500 8.500h3"/>`,
	"trash":      `<path d="M3 4.500h10M6.500 4.500V3h3v1.500M4.500 4.500l.5 8.500h6l.5-8.500"/>`,
	"folder":     `<path d="M2 12.500v-9h4l1.500 2H14v7z"/>`,
	"deleted":    `<path d="M3 8a5 5 0 1 0 1.600-3.700L3 5.800M3 2.800v3h3"/>`,
	"flag":       `<path d="M8 2l1.800 3.800 4.200.5-3.100 2.900.8 4.100L8 11.300l-3.700 2 .8-4.100L2 6.300l4.200-.5z"/>`,
	"clip":       `<path d="M12.500 7.500l-4.800 4.800a2.800 2.800 0 0 1-4-4l5.300-5.300a1.900 1.900 0 0 1 2.700 2.700l-5.200 5.200a.9.900 0 0 1-1.300-1.300l4.500-4.500"/>`,
	"menu":       `<path d="M2 4h12M2 8h12M2 12h12"/>`,
	"back":       `<path d="M9.500 3L4.500 8l5 5"/>`,
	"settings":   `<path d="M2 4.500h7m3 0h2M2 11.500h2m3 0h7"/><circle cx="10.500" cy="4.500" r="1.500"/><circle cx="5.500" cy="11.500" r="1.500"/>`,
	"pulse":      `<path d="M1.500 8.500h3l2-5 3 9 2-4h3"/>`,
	"access":     `<path d="M1.500 8S4 3.500 8 3.500 14.500 8 14.500 8 12 12.500 8 12.500 1.500 8 1.500 8z"/><circle cx="8" cy="8" r="1.900"/>`,
	"people":     `<circle cx="6" cy="5.500" r="2.300"/><path d="M1.800 13c.3-2.600 2-4 4.200-4s3.900 1.400 4.200 4M10.500 3.400a2.300 2.300 0 0 1 0 4.200M11.800 9.400c1.400.5 2.200 1.700 2.400 3.600"/>`,
	"help":       `<circle cx="8" cy="8" r="6"/><path d="M6.200 6.300A1.900 1.900 0 1 1 8 8.400v1M8 11.300v.2"/>`,
	"out":        `<path d="M6 2.500H3v11h3M7 8h7M11.500 5.500L14 8l-2.500 2.500"/>`,
	"warn":       `<path d="M8 2l6.500 11.500h-13zM8 6.500v3.500M8 11.500v.3"/>`,
	"theme":      `<circle cx="8" cy="8" r="5.500"/><path d="M8 2.500v11a5.500 5.500 0 0 0 0-11z" fill="currentColor"/>`,
	"download":   `<path d="M8 2v8M5 7l3 3 3-3M3 13h10"/>`,
	"check":      `<path d="M3 8.500l3.500 3.500L13 4.500"/>`,
	"cross":      `<path d="M4 4l8 8m0-8l-8 8"/>`,
	"open":       `<path d="M5.800 6a2.300 2.300 0 1 1 2.500 2.500v1M8.200 12v.2"/>`,
	"more":       `<path d="M3 8h.01M8 8h.01M13 8h.01" stroke-width="2.200"/>`,
	"unread":     `<path d="M2 3.500h9M2 3.500v9h12V7M2 4.500l6 4.500 3-2.200"/><circle cx="13.500" cy="3.500" r="1.800" fill="currentColor" stroke="none"/>`,
	"send":       `<path d="M14 2L7.500 14 6 9 1.500 6.500zM6 9l8-7"/>`,
	"outbound":   `<path d="M2 12.500V3.500h8M2 4.500l5 3.800M10.500 9.500h4M12 7l2.500 2.500L12 12"/>`,
	"stop":       `<path d="M3.500 3.500h9v9h-9z" fill="currentColor"/>`,
	"slow":       `<path d="M8 2.500l6 11H2z"/>`,
	"shield":     `<path d="M8 1.800l5.500 2v4c0 3.200-2.300 5.400-5.500 6.400-3.200-1-5.500-3.200-5.500-6.400v-4z"/>`,
	"mail":       `<path d="M2 3.500h12v9H2zM2 4.500l6 4.500 6-4.500"/>`,
}

// icon draws one. Names are those of the templates, so that nothing of a stranger's gets here.
func icon(name string) template.HTML {
	return template.HTML(`<svg class="icon i-` + name + `" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">` + //nolint:gosec // see above
		icons[name] + `</svg>`)
}
