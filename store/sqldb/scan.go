package sqldb

import (
	"bytes"
	"database/sql/driver"
	"fmt"
	"reflect"
)

// assignAll copies the columns of a row of SQLite into dest.
func assignAll(dest []any, values []driver.Value) error {
	if len(dest) != len(values) {
		return fmt.Errorf("scan: %d columns into %d variables", len(values), len(dest))
	}
	for i, value := range values {
		if err := assign(dest[i], value); err != nil {
			return fmt.Errorf("scan column %d: %w", i+1, err)
		}
	}
	return nil
}

// assign copies a value into what dest points to. NULL goes only into pointers.
func assign(dest any, value driver.Value) error {
	switch d := dest.(type) {
	case *string:
		if v, ok := value.(string); ok {
			*d = v
			return nil
		}
	case *int64:
		if v, ok := value.(int64); ok {
			*d = v
			return nil
		}
	}
	to := reflect.ValueOf(dest)
	if to.Kind() != reflect.Pointer || to.IsNil() {
		return fmt.Errorf("%T is no pointer", dest)
	}
	return assignTo(to.Elem(), value)
}

func assignTo(to reflect.Value, value driver.Value) error {
	switch v := value.(type) {
	case nil:
		if to.Kind() == reflect.Pointer {
			to.SetZero()
			return nil
		}
	case string:
		if to.Kind() == reflect.String {
			to.SetString(v)
			return nil
		}
	case []byte:
		if to.Kind() == reflect.Slice && to.Type().Elem().Kind() == reflect.Uint8 {
			to.SetBytes(bytes.Clone(v)) // the driver's may be the memory of the row
			return nil
		}
	case int64:
		switch {
		case to.CanInt() && !to.OverflowInt(v):
			to.SetInt(v)
			return nil
		case to.CanUint() && v >= 0 && !to.OverflowUint(uint64(v)):
			to.SetUint(uint64(v))
			return nil
		case to.Kind() == reflect.Bool:
			to.SetBool(v != 0)
			return nil
		}
	}
	if value != nil && to.Kind() == reflect.Pointer {
		to.Set(reflect.New(to.Type().Elem()))
		return assignTo(to.Elem(), value)
	}
	return fmt.Errorf("%T does not go into %s", value, to.Type())
}
