package retryapi

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// allowsHost reports whether the handler serves requests for r's Host. A page of
// another site can point a name of its own at this address (DNS rebinding), and
// is then of the same origin; but its name stays in the Host.
func (h *Handler) allowsHost(r *http.Request) bool {
	name := hostname(r.Host)
	if len(h.Hosts) > 0 {
		return slices.ContainsFunc(h.Hosts, func(host string) bool { return host == "*" || hostname(host) == name })
	}
	return !arrivedByLoopback(r) || isLoopback(name)
}

// hostname is a host in lower case, without its port.
func hostname(host string) string {
	return strings.TrimSuffix(strings.ToLower((&url.URL{Host: host}).Hostname()), ".")
}

// arrivedByLoopback reports whether the connection was made to a loopback
// address. Only a server of net/http says so.
func arrivedByLoopback(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && local.IP.IsLoopback()
}

func isLoopback(name string) bool {
	ip := net.ParseIP(name)
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || (ip != nil && ip.IsLoopback())
}
