package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff/internal/redisstore"
)

// connection says which Redis is meant, and which namespace in it.
type connection struct {
	url, user, password, passwordFile string
	ca, cert, key                     string
	cluster                           bool
	prefix, namespace                 string
	timeout                           time.Duration

	secrets []string // what no output may have
}

func (c *connection) define(flags *flag.FlagSet) {
	flags.StringVar(&c.url, "redis-url", "redis://localhost:6379", "`URL` of Redis: redis://user:password@host:port/db, rediss:// with TLS, unix:///path; with ?master_name=M it names a Sentinel")
	flags.BoolVar(&c.cluster, "redis-cluster", false, "Redis is a Cluster; further nodes are ?addr=host:port in the URL")
	flags.StringVar(&c.user, "redis-user", "", "`name` of the user; it wins over that of the URL")
	flags.StringVar(&c.password, "redis-password", "", "`password`; others of this machine see it: prefer HOLDOFF_REDIS_PASSWORD or a file")
	flags.StringVar(&c.passwordFile, "redis-password-file", "", "`file` with the password")
	flags.StringVar(&c.ca, "redis-ca", "", "`file` with the certificates of the authorities that Redis' own is checked by")
	flags.StringVar(&c.cert, "redis-cert", "", "`file` with a certificate of this client")
	flags.StringVar(&c.key, "redis-key", "", "`file` with the key of that certificate")
	flags.StringVar(&c.prefix, "prefix", "holdoff", "RedisOptions.Prefix of the fleet")
	flags.StringVar(&c.namespace, "namespace", "default", "RedisOptions.Namespace of the fleet")
	flags.DurationVar(&c.timeout, "timeout", 2*time.Second, "longest wait for one answer of Redis")
}

// open connects to Redis.
func (c *connection) open() (redis.UniversalClient, error) {
	dial, err := c.prepare()
	if err != nil {
		return nil, err
	}
	return dial(), nil
}

// prepare reads all that the flags say, and returns what connects.
func (c *connection) prepare() (dial func() redis.UniversalClient, err error) {
	if c.timeout <= 0 {
		return nil, usagef("-timeout is %v; it must be positive", c.timeout)
	}
	if c.passwordFile != "" {
		text, err := os.ReadFile(c.passwordFile)
		if err != nil {
			return nil, fmt.Errorf("-redis-password-file: %w", err)
		}
		c.password = strings.TrimRight(string(text), "\r\n")
	}
	u, ok := readURL(c.url)
	if !ok {
		return nil, errURL
	}
	query := u.Query()
	inURL, _ := u.User.Password()
	c.secrets = append([]string{c.password, inURL}, query["password"]...)
	tlsConfig, err := c.tls()
	if err != nil {
		return nil, err
	}
	if c.cluster && query.Has("master_name") {
		return nil, usagef("a Cluster has no Sentinel: leave out -redis-cluster or master_name")
	}
	if dial, err = c.dialer(query.Has("master_name"), tlsConfig); err != nil {
		return nil, errURL
	}
	return dial, nil
}

// errURL is all that is said about a URL that cannot be read: any part of it may be a part
// of its password, since nobody knows where that ends.
var errURL = usagef("-redis-url is no URL of Redis; its form is redis://user:password@host:port/db?option=value " +
	"or unix://user:password@/path?db=N, where user and password are percent-encoded; an option may be unknown, or its value none that it has")

// readURL reads a URL whose password ends where it seems to: one that is not
// percent-encoded may end earlier for url.Parse, and the rest of it be taken for a port, a
// path, a query or a fragment.
func readURL(text string) (*url.URL, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.Fragment != "" || strings.Contains(u.RawQuery, "@") {
		return nil, false
	}
	switch u.Scheme {
	case "unix":
		return u, u.Host == "" && (u.User == nil || !strings.Contains(u.Path, "@"))
	case "redis", "rediss":
		return u, u.Host != "" && !strings.Contains(u.Path, "@")
	}
	return nil, false
}

func (c *connection) dialer(sentinel bool, own *tls.Config) (func() redis.UniversalClient, error) {
	switch {
	case c.cluster:
		o, err := redis.ParseClusterURL(c.url)
		if err != nil {
			return nil, err
		}
		o.Username, o.Password = cmp.Or(c.user, o.Username), cmp.Or(c.password, o.Password)
		o.TLSConfig = merged(o.TLSConfig, own)
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.ContextTimeoutEnabled = c.timeout, c.timeout, c.timeout, true
		return func() redis.UniversalClient { return redis.NewClusterClient(o) }, nil
	case sentinel:
		o, err := redis.ParseFailoverURL(c.url)
		if err != nil {
			return nil, err
		}
		// A URL has one user: it is Redis', and the Sentinel's as well where it has one.
		o.Username, o.Password = cmp.Or(c.user, o.Username, o.SentinelUsername), cmp.Or(c.password, o.Password, o.SentinelPassword)
		o.TLSConfig = merged(o.TLSConfig, own)
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.ContextTimeoutEnabled = c.timeout, c.timeout, c.timeout, true
		return func() redis.UniversalClient { return redis.NewFailoverClient(o) }, nil
	}
	o, err := redis.ParseURL(c.url)
	if err != nil {
		return nil, err
	}
	o.Username, o.Password = cmp.Or(c.user, o.Username), cmp.Or(c.password, o.Password)
	o.TLSConfig = merged(o.TLSConfig, own)
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.ContextTimeoutEnabled = c.timeout, c.timeout, c.timeout, true
	return func() redis.UniversalClient { return redis.NewClient(o) }, nil
}

// tls returns what the files of certificates say, or nil where there are none.
func (c *connection) tls() (*tls.Config, error) {
	if c.ca == "" && c.cert == "" && c.key == "" {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.ca != "" {
		text, err := os.ReadFile(c.ca)
		if err != nil {
			return nil, fmt.Errorf("-redis-ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, usagef("-redis-ca: %s has no certificate in PEM", c.ca)
		}
	}
	if c.cert != "" || c.key != "" {
		pair, err := tls.LoadX509KeyPair(c.cert, c.key)
		if err != nil {
			return nil, fmt.Errorf("-redis-cert, -redis-key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// merged adds own certificates to what a URL says of TLS.
func merged(fromURL, own *tls.Config) *tls.Config {
	switch {
	case own == nil:
		return fromURL
	case fromURL == nil:
		return own
	}
	fromURL.RootCAs, fromURL.Certificates = own.RootCAs, own.Certificates
	return fromURL
}

// hide takes the passwords out of an error: Redis repeats commands that it does not know.
func (c *connection) hide(err error) error {
	if err == nil || c.hidden(err.Error()) == err.Error() {
		return err
	}
	return errors.New(c.hidden(err.Error()))
}

// hidden takes the passwords out of a text.
func (c *connection) hidden(text string) string {
	for _, secret := range c.secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return text
}

// where is the address of Redis without what is secret.
func (c *connection) where() string {
	u, ok := readURL(c.url)
	if !ok {
		return "Redis"
	}
	return u.Scheme + "://" + cmp.Or(u.Host, u.Path)
}

// store opens the data of a namespace.
func (c *connection) store(client redis.UniversalClient, namespace string) (*redisstore.Store, error) {
	return redisstore.Open(client, redisstore.Options{
		Namespace: namespace, Prefix: c.prefix, Timeout: c.timeout,
		MaxHold: 24 * time.Hour, // the fleet's is not known: what is read is shown as it is
	})
}

// namespaces finds those in use, on all nodes, with the wire versions of their processes.
func (c *connection) namespaces(ctx context.Context, client redis.UniversalClient) (map[string][]string, error) {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		return redisstore.Namespaces(ctx, client, c.prefix)
	}
	found := make(chan map[string][]string, 1)
	all := make(map[string][]string)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for part := range found {
			for name, versions := range part {
				all[name] = append(all[name], versions...)
			}
		}
	}()
	err := cluster.ForEachShard(ctx, func(ctx context.Context, node *redis.Client) error {
		part, err := redisstore.Namespaces(ctx, node, c.prefix)
		if err == nil {
			found <- part
		}
		return err
	})
	close(found)
	<-done
	return all, err
}
