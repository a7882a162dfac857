package retryapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

var defaultWithhold = []string{
	"auth", "token", "secret", "signature", "hmac", "cookie", "session", "credential", "assertion",
	"api-key", "apikey", "-key-", "passw", "passphrase", "passcode", "pwd", "-otp-", "-sid-", "-sig-",
	"jwt", "oidc", "dpop", "honeycomb-team",
}

// DefaultWithhold returns the parts of names by which a [RedisLot] knows
// credentials: RedisLotOptions.Withhold, where that is nil. The list is the
// caller's to extend.
func DefaultWithhold() []string { return slices.Clone(defaultWithhold) }

// withholder takes out of a request what may be a credential: what has one of
// these parts in its name.
type withholder []string

func newWithholder(parts []string) withholder {
	if parts == nil {
		parts = defaultWithhold
	}
	w := withholder{"-authorization-", "-cookie-"} // always
	for _, part := range parts {
		w = append(w, strings.ReplaceAll(strings.ToLower(part), "_", "-"))
	}
	return w
}

// secret reports whether a header or parameter of that name may be a credential.
// An Idempotency-Key is none, and a replay needs it.
func (w withholder) secret(name string) bool {
	name = "-" + strings.ReplaceAll(strings.ToLower(name), "_", "-") + "-"
	return !strings.Contains(name, "-idempotency-key-") &&
		slices.ContainsFunc(w, func(part string) bool { return strings.Contains(name, part) })
}

// withhold takes credentials out of r. The fragment of the URL goes too: it is
// never sent, and may hold a token.
func (w withholder) withhold(r *record) error {
	for name, values := range r.Header {
		// Also in a spelling that is not canonical: net/http sends it all the same.
		if w.secret(name) || slices.ContainsFunc(values, w.secretURL) {
			delete(r.Header, name)
			r.Withheld = append(r.Withheld, http.CanonicalHeaderKey(name))
		}
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		return err
	}
	if u.User != nil {
		u.User = nil
		r.Withheld = append(r.Withheld, "Authorization") // net/http makes one of it
	}
	query, parameters := w.split(u.RawQuery)
	u.RawQuery, u.Fragment, u.RawFragment = query, "", ""
	for _, name := range parameters {
		r.Withheld = append(r.Withheld, "?"+name)
	}
	r.URL = u.String()
	slices.Sort(r.Withheld)
	r.Withheld = slices.Compact(r.Withheld)
	return nil
}

// secretURL reports whether the value of a header, such as the Referer that
// http.Client adds to a redirect, is a URL with a credential in it.
func (w withholder) secretURL(value string) bool {
	if _, query, ok := strings.Cut(value, "?"); ok {
		if _, secrets := w.split(query); len(secrets) > 0 {
			return true
		}
	}
	u, err := url.Parse(value)
	return err == nil && u.User != nil
}

// split takes credentials out of a query, and returns the rest as it was, and
// the names of what it took.
func (w withholder) split(query string) (rest string, secrets []string) {
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		names := namesOf(pair)
		if slices.ContainsFunc(names, w.secret) {
			secrets = append(secrets, names...)
		} else {
			kept = append(kept, pair)
		}
	}
	return strings.Join(kept, "&"), secrets
}

// namesOf returns the names of the parameters in a part of a query: to some
// servers a semicolon divides parameters as well.
func namesOf(pair string) (names []string) {
	for one := range strings.SplitSeq(pair, ";") {
		name, _, _ := strings.Cut(one, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		names = append(names, name)
	}
	return names
}

// missing returns what of withheld is not in req: Prepare has not put it back. A
// header that is there without a value counts as put back: it is not needed.
func missing(req *http.Request, withheld []string) (names []string) {
	have := map[string]bool{"Authorization": req.URL.User != nil}
	for name := range req.Header {
		have[http.CanonicalHeaderKey(name)] = true
	}
	for pair := range strings.SplitSeq(req.URL.RawQuery, "&") {
		for _, name := range namesOf(pair) {
			have["?"+name] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(withheld), func(name string) bool { return have[name] })
}
