package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"modernc.org/sqlite"
)

// sqliteConn is a connection with its prepared statements, used by one goroutine at a time. It goes below database/sql,
// whose goroutines, locks and conversions for each statement cost more than many a statement does.
type sqliteConn struct {
	conn   driver.Conn
	byText map[string]*sqliteStmt
	// changed is about how many rows were changed since it was last set to 0.
	changed int64
}

// sqliteStmt is a prepared statement with room for its arguments.
type sqliteStmt struct {
	stmt driver.Stmt
	args []driver.NamedValue
	busy bool
}

func openSQLiteConn(path string) (*sqliteConn, error) {
	conn, err := new(sqlite.Driver).Open(sqliteURL(path) + writerPragmas)
	if err != nil {
		return nil, err
	}
	return &sqliteConn{conn: conn, byText: map[string]*sqliteStmt{}}, nil
}

// run ignores the context: the work is short, and a statement that is interrupted in the middle would cost the
// connection.
func (c *sqliteConn) run(_ context.Context, list []queued) (changed int64, err error) {
	for _, q := range list {
		switch {
		case q.many != nil:
			changed, err = c.many(q.many, q.values)
		case q.row != nil:
			err = c.each(q.query, q.args, q.row)
		default:
			changed, err = c.exec(q.query, q.args...)
		}
		if err != nil {
			return 0, err
		}
	}
	return changed, nil
}

func (c *sqliteConn) many(m *Many, values []any) (changed int64, err error) {
	width := len(m.columns)
	for len(values) > 0 {
		n, err := c.exec(m.each, values[:width]...)
		if err != nil {
			return 0, err
		}
		changed, values = changed+n, values[width:]
	}
	return changed, nil
}

func (c *sqliteConn) exec(query string, args ...any) (int64, error) {
	result, err := c.execute(query, args)
	if err != nil {
		return 0, classify(err)
	}
	n, err := result.RowsAffected()
	c.changed += n
	return n, classify(err)
}

func (c *sqliteConn) commit() error {
	_, err := c.execute("COMMIT", nil)
	return classifyCommit(err)
}

func (c *sqliteConn) execute(query string, args []any) (driver.Result, error) {
	s, err := c.prepare(query, args)
	if err != nil {
		return nil, err
	}
	defer s.release()
	return s.stmt.(driver.StmtExecContext).ExecContext(context.Background(), s.args)
}

func (c *sqliteConn) each(query string, args []any, row func(scan Scan) error) (err error) {
	s, err := c.prepare(query, args)
	if err != nil {
		return classify(err)
	}
	defer s.release()
	rows, err := s.stmt.(driver.StmtQueryContext).QueryContext(context.Background(), s.args)
	if err != nil {
		return classify(err)
	}
	defer func() { err = errors.Join(err, classify(rows.Close())) }()
	values := make([]driver.Value, len(rows.Columns()))
	scan := func(dest ...any) error { return assignAll(dest, values) }
	for {
		err := rows.Next(values)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return classify(err)
		}
		if err := row(scan); err != nil {
			return err
		}
	}
}

// prepare finds or makes the statement and gives it its arguments. The texts of this project are constants, so their
// number is bounded.
func (c *sqliteConn) prepare(query string, args []any) (*sqliteStmt, error) {
	s, ok := c.byText[query]
	if !ok {
		stmt, err := c.conn.Prepare(query)
		if err != nil {
			return nil, err
		}
		s = &sqliteStmt{stmt: stmt}
		c.byText[query] = s
	}
	if s.busy {
		return nil, fmt.Errorf("statement is still running: %s", query)
	}
	return s, s.bind(args)
}

func (s *sqliteStmt) bind(args []any) error {
	s.args = s.args[:0]
	for i, arg := range args {
		value, err := driverValue(arg)
		if err != nil {
			return fmt.Errorf("argument %d: %w", i+1, err)
		}
		s.args = append(s.args, driver.NamedValue{Ordinal: i + 1, Value: value})
	}
	s.busy = true
	return nil
}

// driverValue is what the driver takes; most values are that already.
func driverValue(arg any) (driver.Value, error) {
	switch arg.(type) {
	case string, int64, nil:
		return arg, nil
	default:
		return driver.DefaultParameterConverter.ConvertValue(arg)
	}
}

// release lets go of the arguments, which may be large.
func (s *sqliteStmt) release() {
	clear(s.args)
	s.busy = false
}

// Close closes the statements and the connection.
func (c *sqliteConn) Close() error {
	var errs []error
	for _, s := range c.byText {
		errs = append(errs, s.stmt.Close())
	}
	c.byText = nil
	return errors.Join(append(errs, c.conn.Close())...)
}
