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
	// What a URL that can't be read says about itself may be a part of its password.
	u, err := url.Parse(c.url)
	if err != nil {
		return nil, usagef("-redis-url is no URL; its form is redis://user:password@host:port/db, where user and password are percent-encoded")
	}
	query := u.Query()
	inURL, _ := u.User.Password()
	c.secrets = []string{c.password, inURL, query.Get("password")}
	tlsConfig, err := c.tls()
	if err != nil {
		return nil, err
	}
	client, err := c.client(query.Has("master_name"), tlsConfig)
	if err != nil {
		return nil, usageError{c.hide(fmt.Errorf("-redis-url: %w", err))}
	}
	return client, nil
}

func (c *connection) client(sentinel bool, own *tls.Config) (redis.UniversalClient, error) {
	switch {
	case c.cluster && sentinel:
		return nil, errors.New("a Cluster has no Sentinel: leave out -redis-cluster or master_name")
	case c.cluster:
		o, err := redis.ParseClusterURL(c.url)
		if err != nil {
			return nil, err
		}
		o.Username, o.Password = cmp.Or(c.user, o.Username), cmp.Or(c.password, o.Password)
		o.TLSConfig = merged(o.TLSConfig, own)
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.ContextTimeoutEnabled = c.timeout, c.timeout, c.timeout, true
		return redis.NewClusterClient(o), nil
	case sentinel:
		o, err := redis.ParseFailoverURL(c.url)
		if err != nil {
			return nil, err
		}
		// A URL has one user: it is Redis', and the Sentinel's as well where it has one.
		o.Username, o.Password = cmp.Or(c.user, o.Username, o.SentinelUsername), cmp.Or(c.password, o.Password, o.SentinelPassword)
		o.TLSConfig = merged(o.TLSConfig, own)
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.ContextTimeoutEnabled = c.timeout, c.timeout, c.timeout, true
		return redis.NewFailoverClient(o), nil
	}
	o, err := redis.ParseURL(c.url)
	if err != nil {
		return nil, err
	}
	o.Username, o.Password = cmp.Or(c.user, o.Username), cmp.Or(c.password, o.Password)
	o.TLSConfig = merged(o.TLSConfig, own)
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.ContextTimeoutEnabled = c.timeout, c.timeout, c.timeout, true
	return redis.NewClient(o), nil
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
	u, err := url.Parse(c.url)
	if err != nil {
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
