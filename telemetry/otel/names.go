package holdoffotel

import (
	"net/url"
	"strconv"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

const other = "other"

// names are what may have attributes of its own: the first max names that are
// used. All that come later are other.
type names struct {
	max   int
	attrs func(name string) []attribute.KeyValue

	mu    sync.RWMutex
	taken map[string]attribute.Set
}

// of returns the attributes of name, which takes one of the places if there is
// one left.
func (n *names) of(name string) attribute.Set {
	n.mu.RLock()
	set, ok := n.taken[name]
	full := len(n.taken) >= n.max
	n.mu.RUnlock()
	switch {
	case ok:
		return set
	case full:
		return n.set(other)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if set, ok = n.taken[name]; ok {
		return set
	}
	if len(n.taken) >= n.max {
		return n.set(other)
	}
	if n.taken == nil {
		n.taken = make(map[string]attribute.Set)
	}
	name = strings.Clone(name)
	set = n.set(name)
	n.taken[name] = set
	return set
}

// known returns the attributes of name without taking a place: keys that only
// other replicas use are not worth one.
func (n *names) known(name string) attribute.Set {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if set, ok := n.taken[name]; ok {
		return set
	}
	return n.set(other)
}

func (n *names) set(name string) attribute.Set { return attribute.NewSet(n.attrs(name)...) }

// server are the attributes of a key: its host and port. A key of the user's own
// that is no URL stands for the server as a whole.
func server(key string) []attribute.KeyValue {
	key = text(key)
	u, err := url.Parse(key)
	if err != nil || u.Host == "" || u.Scheme+"://"+u.Host != key {
		return []attribute.KeyValue{semconv.ServerAddress(key)}
	}
	attrs := []attribute.KeyValue{semconv.ServerAddress(u.Hostname())}
	port, err := strconv.Atoi(u.Port())
	switch {
	case err == nil:
	case u.Scheme == "https":
		port = 443
	case u.Scheme == "http":
		port = 80
	default:
		return attrs
	}
	return append(attrs, semconv.ServerPort(port))
}

func reason(name string) []attribute.KeyValue {
	return []attribute.KeyValue{reasonKey.String(text(name))}
}

// text is s without what OTLP refuses: its strings are UTF-8.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
