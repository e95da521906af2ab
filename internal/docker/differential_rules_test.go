package docker_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// rules say of each field of a body what it may hold, by its path. A field
// without a rule may hold nothing: one that a newer engine reads, and that
// ds01 passes, fails until somebody has decided about it.
type rules map[string]rule

// A rule reports whether a field may hold a value.
type rule func(value any) bool

// judge says what exceeds the rules, "" when nothing does. It visits every
// field, the zero ones too, for zero can mean without end.
func (r rules) judge(path string, v reflect.Value) string {
	if fits, decided := r[path]; decided {
		if !fits(v.Interface()) {
			return fmt.Sprintf("%s may not be %+v", path, reflect.Indirect(v))
		}
		return ""
	}
	switch {
	case v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct:
		if v.IsNil() {
			v = reflect.New(v.Type().Elem())
		}
		return r.judge(path, v.Elem())
	case v.Kind() == reflect.Struct:
		return r.judgeFields(path, v)
	case v.IsZero():
		return ""
	}
	return fmt.Sprintf("nobody has decided that %s may be %+v", path, reflect.Indirect(v))
}

func (r rules) judgeFields(path string, v reflect.Value) string {
	for i := range v.NumField() {
		field, below := v.Type().Field(i), path
		if !field.Anonymous {
			below = strings.TrimPrefix(path+"."+field.Name, ".")
		}
		if why := r.judge(below, v.Field(i)); why != "" {
			return why
		}
	}
	return ""
}

func anything(any) bool { return true }

// that is a rule whose verdict is known already.
func that(fits bool) rule { return func(any) bool { return fits } }

func one[T comparable](of ...T) rule {
	return func(v any) bool { return slices.Contains(of, v.(T)) }
}

// upTo is a number from 1 to a limit, and any where there is none.
func upTo(limit int64) rule {
	return func(v any) bool { return limit == 0 || 1 <= v.(int64) && v.(int64) <= limit }
}

func orZero(fits rule) rule {
	return func(v any) bool { return reflect.ValueOf(v).IsZero() || fits(v) }
}
