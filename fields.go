package holdoff

import (
	"errors"
	"fmt"
	"reflect"
)

// What callers may give us that is no value.

// validateInterfaces finds fields whose value has no method that can be called.
func (t *Transport) validateInterfaces() error {
	for _, field := range []struct {
		name  string
		value any
	}{{"Base", t.Base}, {"Backoff", t.Backoff}, {"Store", t.Store}, {"Park", t.Park}} {
		if missing(field.value) {
			return fmt.Errorf("holdoff: Transport.%s is a nil %T; leave the field nil, or give it a value", field.name, field.value)
		}
	}
	if s, ok := t.Store.(*RedisStore); ok && s.store == nil {
		return errors.New("holdoff: Transport.Store is an empty RedisStore; make it with NewRedisStore")
	}
	if t.Logger != nil && t.Logger.Core() == nil {
		return errors.New("holdoff: Transport.Logger is an empty zap.Logger; make it with zap.New, or leave the field nil")
	}
	return nil
}

// missing reports whether the value of an interface field is a nil pointer or a nil
// function, on which no method can be called. A field that is nil itself is not
// missing: it has a default.
func missing(field any) bool {
	v := reflect.ValueOf(field)
	return (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil()
}

// wordOf returns the word for value i of an enumeration, or says which value has
// none: an older version may meet the phase of a newer one.
func wordOf(kind string, i int, words ...string) string {
	if i < 0 || i >= len(words) {
		return fmt.Sprintf("%s(%d)", kind, i)
	}
	return words[i]
}
