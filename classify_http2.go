package holdoff

import (
	"errors"
	"reflect"
	"slices"
	"strings"
)

// streamError has the shape of HTTP/2's stream errors, which net/http lets
// errors.As fill without naming their type (see its h2_error.go).
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "http2 stream error" }

// Codes of RFC 9113, section 7.
const (
	internalError   = 0x2
	refusedStream   = 0x7
	cancelledStream = 0x8
	enhanceYourCalm = 0xb
)

func isRefusedStream(err error) bool {
	var s streamError
	return errors.As(err, &s) && s.Code == refusedStream
}

// isResetStream finds streams that the server broke off, which over HTTP/1
// would have been a broken connection.
func isResetStream(err error) bool {
	var s streamError
	return errors.As(err, &s) && (s.Code == internalError || s.Code == cancelledStream || s.Code == enhanceYourCalm)
}

// A goAway is why a server shut an HTTP/2 connection.
type goAway struct {
	code        string // its name in RFC 9113, section 7
	first       bool   // the request was the connection's first
	unprocessed bool   // RFC 9113, section 6.8: the server did not process it
}

// requestCodes are the errors that a request itself brings about, for example by
// headers that are too large, or that every connection to the server will meet.
var requestCodes = map[uint64]string{
	0x1: "PROTOCOL_ERROR",
	0x6: "FRAME_SIZE_ERROR",
	0x9: "COMPRESSION_ERROR",
	0xc: "INADEQUATE_SECURITY",
	0xd: "HTTP_1_1_REQUIRED",
}

// requestIsWhy reports whether the next connection would end in the same way. On
// a connection that had other requests, one of those may have been why.
func (g goAway) requestIsWhy() bool {
	if !g.first {
		return false
	}
	for _, name := range requestCodes {
		if g.code == name {
			return true
		}
	}
	return false
}

// goAwayOf finds connections that the server shut with a GOAWAY.
func goAwayOf(err error) (g goAway, ok bool) {
	ok = anyIn(err, func(err error) bool {
		if code, found := strings.CutPrefix(err.Error(), goAwayFirstText); found {
			g = goAway{code: code, first: true, unprocessed: true}
			return true
		}
		last, code, found := goAwayFields(err)
		g = goAway{code: requestCodes[code], first: last <= 1}
		return found
	})
	return g, ok
}

// goAwayFields reads the error of a stream that the server may have processed
// before it shut the connection. The type has no exported name in net/http, and
// one in golang.org/x/net/http2.
func goAwayFields(err error) (last, code uint64, ok bool) {
	v := reflect.ValueOf(err)
	if !slices.Contains([]string{"http2GoAwayError", "GoAwayError"}, v.Type().Name()) || v.Kind() != reflect.Struct {
		return 0, 0, false
	}
	lastField, codeField := v.FieldByName("LastStreamID"), v.FieldByName("ErrCode")
	if !lastField.CanUint() || !codeField.CanUint() {
		return 0, 0, false
	}
	return lastField.Uint(), codeField.Uint(), true
}
