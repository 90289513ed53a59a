package sqldb

import (
	"fmt"
	"strings"
)

// Many is a statement that is run for many rows of values at once. SQLite runs a short one for each row, which costs it
// least; PostgreSQL gets the columns as arrays, so that one text, and one plan, serves any number of rows.
type Many struct {
	columns []Column
	// each is for one row, whose values are ?1, ?2, …; all is for arrays $1, $2, ….
	each, all string
}

// Column is a column that a Many writes.
type Column struct {
	name  string
	array string
	add   bool
}

// Text is a column of strings; its values are string, *string or nil.
func Text(name string) Column { return Column{name: name, array: "TEXT[]"} }

// Bytes is a column of bytes; its values are []byte, not nil.
func Bytes(name string) Column { return Column{name: name, array: "BYTEA[]"} }

// Integer is a column of integers; its values are int64, *int64 or nil.
func Integer(name string) Column { return Column{name: name, array: "BIGINT[]"} }

// Added is a column of integers whose values are added to what is there. It is for Update.
func Added(name string) Column { return Column{name: name, array: "BIGINT[]", add: true} }

// Insert makes a statement that inserts rows into a table.
func Insert(table string, columns ...Column) *Many {
	params := make([]string, len(columns))
	for i := range columns {
		params[i] = fmt.Sprintf("?%d", i+1)
	}
	into := fmt.Sprintf("INSERT INTO %s (%s) ", table, Names("", columns))
	return &Many{
		columns: columns,
		each:    into + "VALUES (" + strings.Join(params, ", ") + ")",
		all:     into + "SELECT * FROM " + Unnest(1, columns),
	}
}

// OnConflict is the same Insert with a clause for keys that are taken, such as "ON CONFLICT (id) DO NOTHING". On PostgreSQL
// a clause that updates needs rows with different keys.
func (m *Many) OnConflict(clause string) *Many {
	return &Many{columns: m.columns, each: m.each + " " + clause, all: m.all + " " + clause}
}

// Update makes a statement that changes columns of the rows of a table. The first value of each row is the id, a text,
// of the row in the table; the others are those of the columns. An id must not occur twice.
func Update(table string, columns ...Column) *Many {
	columns = append([]Column{Text("id")}, columns...)
	var each, all []string
	for i, c := range columns[1:] {
		old := ""
		if c.add {
			old = table + "." + c.name + " + "
		}
		each = append(each, fmt.Sprintf("%s = %s?%d", c.name, old, i+2))
		all = append(all, fmt.Sprintf("%s = %sv.%s", c.name, old, c.name))
	}
	return &Many{
		columns: columns,
		each:    fmt.Sprintf("UPDATE %s SET %s WHERE id = ?1", table, strings.Join(each, ", ")),
		all:     fmt.Sprintf("UPDATE %s SET %s FROM %s WHERE %s.id = v.id", table, strings.Join(all, ", "), Unnest(1, columns), table),
	}
}

// Array is PostgreSQL's type for many values of the column.
func (c Column) Array() string { return c.array }

// Unnest is PostgreSQL's table v of rows whose columns are the arrays $first, $first+1, …: those that Arrays makes.
func Unnest(first int, columns []Column) string {
	arrays := make([]string, len(columns))
	for i, c := range columns {
		arrays[i] = fmt.Sprintf("CAST($%d AS %s)", first+i, c.array)
	}
	return fmt.Sprintf("unnest(%s) AS v (%s)", strings.Join(arrays, ", "), Names("", columns))
}

// Row is PostgreSQL's table v of one row whose columns are $first, $first+1, ….
func Row(first int, columns []Column) string {
	values := make([]string, len(columns))
	for i, c := range columns {
		values[i] = fmt.Sprintf("CAST($%d AS %s)", first+i, strings.TrimSuffix(c.array, "[]"))
	}
	return fmt.Sprintf("(VALUES (%s)) AS v (%s)", strings.Join(values, ", "), Names("", columns))
}

// Names is the list of the columns' names, each with prefix before it.
func Names(prefix string, columns []Column) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = prefix + c.name
	}
	return strings.Join(names, ", ")
}

// Arrays gives the values of rows, one row after the other, by column, as PostgreSQL's driver takes arrays.
func Arrays(columns []Column, values []any) []any {
	width := len(columns)
	list := make([]any, width)
	for i, c := range columns {
		switch c.array {
		case "TEXT[]":
			list[i] = column[string](values[i:], width)
		case "BYTEA[]":
			list[i] = column[[]byte](values[i:], width)
		default:
			list[i] = column[int64](values[i:], width)
		}
	}
	return list
}

// column takes every width-th value: as []T, or as []*T when one is null.
func column[T any](values []any, width int) any {
	n := (len(values) + width - 1) / width
	plain, null := make([]T, 0, n), make([]*T, 0, n)
	for i := 0; i < len(values); i += width {
		v := pointer[T](values[i])
		null = append(null, v)
		if v != nil {
			plain = append(plain, *v)
		}
	}
	if len(plain) == n {
		return plain
	}
	return null
}

func pointer[T any](value any) *T {
	switch v := value.(type) {
	case nil:
		return nil
	case *T:
		return v
	case T:
		return &v
	default:
		panic(fmt.Sprintf("sqldb: value of a Many is %T", value))
	}
}
