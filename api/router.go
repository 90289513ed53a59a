package api

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/labstack/echo/v4"
)

// newRouter builds one face of the API. Nothing outside this file knows the router.
func (s *Server) newRouter(register ...func(huma.API)) (http.Handler, error) {
	e := echo.New()
	e.HTTPErrorHandler = s.routingError
	e.Use(noteRoute, unescapeParams)
	api := humaecho.New(e, s.config())
	for _, r := range register {
		r(api)
	}
	if err := s.registerDocs(api); err != nil {
		return nil, err
	}
	return e, nil
}

// noteRoute tells the metrics which route was taken, as a template: never the path, which strangers choose.
func noteRoute(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if f := factsOf(c.Request().Context()); f != nil && c.Path() != "" {
			f.route = c.Path()
		}
		return next(c)
	}
}

// unescapeParams gives parameters of the path as they were meant. The router leaves them escaped where the escapes had a
// meaning, as that of a slash, for then it looks at the path as it was sent.
func unescapeParams(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().URL.RawPath != "" {
			values := slices.Clone(c.ParamValues())
			for i, value := range values {
				if plain, err := url.PathUnescape(value); err == nil {
					values[i] = plain
				}
			}
			c.SetParamValues(values...)
		}
		return next(c)
	}
}

// routingError answers what reached no handler.
func (s *Server) routingError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	if f := factsOf(c.Request().Context()); f != nil {
		f.route = "unmatched"
	}
	p := newProblem(codeInternal)
	switch {
	case errors.Is(err, echo.ErrNotFound):
		p = newProblem(codeNotFound)
	case errors.Is(err, echo.ErrMethodNotAllowed):
		p = newProblem(codeMethodNotAllowed)
	}
	ctx := c.Request().Context()
	s.writeProblem(c.Response(), c.Request(), s.localize(ctx, p, err))
}
