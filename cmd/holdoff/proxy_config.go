package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/vendors"
)

// upstream is one API behind the proxy. Its fields are those of the file of -config.
type upstream struct {
	// Name is its name in logs, metrics and on the page. If Path is empty, requests for
	// /Name/... are for it.
	Name string `yaml:"name"`
	// URL is where it is. What is behind Path is put behind the URL's own path.
	URL string `yaml:"url"`
	// Path begins the paths of requests for it; "/" is for all that no other has.
	Path string `yaml:"path"`
	// Vendor names an API of package vendors: how it refuses, and what its routes are.
	Vendor string `yaml:"vendor"`
	// KeyHeader is a field of requests whose values have limits of their own, such as a
	// tenant's name. It appears in logs: it must be no credential.
	KeyHeader string `yaml:"keyHeader"`
	// Routes are patterns of net/http.ServeMux, as in "GET /v1/users/{id}/posts": requests
	// of one pattern have one limit. What none matches has the route of its path's shape.
	Routes []string `yaml:"routes"`
	// OneLimit says that all requests share one limit, whatever their route.
	OneLimit bool `yaml:"oneLimit"`

	MaxAttempts       int           `yaml:"maxAttempts"`
	MaxWait           time.Duration `yaml:"maxWait"`
	MaxHold           time.Duration `yaml:"maxHold"`
	PerAttemptTimeout time.Duration `yaml:"perAttemptTimeout"`
	// MaxBody bounds the body of a request, in bytes. If zero, 10 MiB.
	MaxBody int64 `yaml:"maxBody"`

	target *url.URL
	route  func(*http.Request) string
}

const defaultMaxBody = 10 << 20

// vendor is what package vendors knows of an API.
type vendor struct {
	classify func(vendors.Classifier) vendors.Classifier
	route    func(*http.Request) string
}

var knownVendors = map[string]vendor{
	"aws":        {vendors.AWS, vendors.AWSRoute},
	"discord":    {vendors.Discord, vendors.DiscordRoute},
	"gemini":     {vendors.Gemini, nil},
	"github":     {vendors.GitHub, nil},
	"kubernetes": {vendors.Kubernetes, vendors.KubernetesRoute},
	"openai":     {vendors.OpenAI, vendors.OpenAIRoute},
	"salesforce": {vendors.Salesforce, nil},
	"shopify":    {vendors.Shopify, nil},
	"slack":      {nil, vendors.SlackRoute},
}

// readUpstreams reads a file of -config.
func readUpstreams(path string) ([]*upstream, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("-config: %w", err)
	}
	var file struct {
		Upstreams []*upstream `yaml:"upstreams"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true) // a field that is misspelt must not go unnoticed
	if err := decoder.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return nil, usagef("-config: %s: %w", path, err)
	}
	return file.Upstreams, nil
}

// upstreamOf reads a value of -upstream: URL, or name=URL.
func upstreamOf(text string) *upstream {
	name, address, named := strings.Cut(text, "=")
	if !named || strings.Contains(name, ":") { // the "=" of a query
		return &upstream{Name: "api", URL: text, Path: "/"}
	}
	return &upstream{Name: name, URL: address}
}

// plainName is what a name may be: it is a part of paths and a label.
var plainName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)

// check says what is wrong with upstreams, and completes them.
func check(upstreams []*upstream) error {
	if len(upstreams) == 0 {
		return usagef("there is no upstream: give -upstream, or -config")
	}
	names, paths := make(map[string]bool), make(map[string]bool)
	for i, u := range upstreams {
		if u == nil || !plainName.MatchString(u.Name) {
			return usagef("upstream %d: its name must be 1 to 63 letters, digits, dots, dashes and underscores", i+1)
		}
		if err := u.complete(); err != nil {
			return usagef("upstream %s: %w", u.Name, err)
		}
		if names[u.Name] || paths[u.Path] {
			return usagef("upstream %s: its name or its path %s is that of another one", u.Name, u.Path)
		}
		names[u.Name], paths[u.Path] = true, true
	}
	return nil
}

func (u *upstream) complete() (err error) {
	u.target, err = url.Parse(u.URL)
	switch {
	case err != nil || u.target.Host == "" || (u.target.Scheme != "http" && u.target.Scheme != "https"):
		return errors.New("url must be an http:// or https:// URL")
	case u.target.User != nil:
		return errors.New("url must have no user: the service sends its own credentials")
	}
	if u.Path == "" {
		u.Path = "/" + u.Name + "/"
	}
	if !strings.HasPrefix(u.Path, "/") || !strings.HasSuffix(u.Path, "/") {
		return fmt.Errorf("path is %q; it must begin and end with /", u.Path)
	}
	if _, known := knownVendors[u.Vendor]; u.Vendor != "" && !known {
		return fmt.Errorf("vendor is %q; known are %s", u.Vendor, strings.Join(slices.Sorted(maps.Keys(knownVendors)), ", "))
	}
	for name, value := range map[string]int64{
		"maxAttempts": int64(u.MaxAttempts), "maxHold": int64(u.MaxHold), "perAttemptTimeout": int64(u.PerAttemptTimeout), "maxBody": u.MaxBody,
	} {
		if value < 0 {
			return fmt.Errorf("%s is negative", name)
		}
	}
	if u.MaxBody == 0 {
		u.MaxBody = defaultMaxBody
	}
	if u.OneLimit && len(u.Routes) > 0 {
		return errors.New("oneLimit and routes exclude each other")
	}
	u.route, err = u.routes()
	return err
}

// routes returns what Transport.Route is to be.
func (u *upstream) routes() (_ func(*http.Request) string, err error) {
	rest := knownVendors[u.Vendor].route
	switch {
	case u.OneLimit:
		return func(*http.Request) string { return "" }, nil
	case len(u.Routes) == 0:
		return rest, nil
	case rest == nil:
		rest = holdoff.RouteOf
	}
	mux := http.NewServeMux()
	defer func() {
		if r := recover(); r != nil { // as ServeMux says it
			err = fmt.Errorf("routes: %v", r)
		}
	}()
	for _, pattern := range u.Routes {
		mux.Handle(pattern, http.NotFoundHandler())
	}
	return func(req *http.Request) string {
		if _, pattern := mux.Handler(req); pattern != "" {
			return strings.ReplaceAll(pattern, " ", ":")
		}
		return rest(req)
	}, nil
}

// transport returns what sends the requests for u.
func (u *upstream) transport(store holdoff.Store) *holdoff.Transport {
	t := &holdoff.Transport{
		MaxAttempts: u.MaxAttempts, MaxWait: u.MaxWait, MaxHold: u.MaxHold, PerAttemptTimeout: u.PerAttemptTimeout,
		Route: u.route, Store: store,
	}
	if classify := knownVendors[u.Vendor].classify; classify != nil {
		t.Classify = classify(nil)
	}
	if u.KeyHeader != "" {
		t.Key = func(req *http.Request) string {
			value := req.Header.Get(u.KeyHeader)
			if value == "" {
				return ""
			}
			return req.URL.Scheme + "://" + req.URL.Host + "/" + url.PathEscape(value)
		}
	}
	return t
}
