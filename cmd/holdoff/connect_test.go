package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/redistest"
)

func TestConnect_Cluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	refused(t, fleet(t, cluster.Client(), "billing"), "https://a.example", time.Minute)
	refused(t, fleet(t, cluster.Client(), "search"), "https://b.example", time.Minute)
	for _, node := range cluster.Nodes {
		flags := []string{"-redis-cluster", "-redis-url", at(node)}
		eventually(t, "both namespaces are found, on whichever node they are", func() bool {
			out := must(t, append([]string{"ls", "-all"}, flags...)...)
			return strings.Contains(out, "https://a.example is held") && strings.Contains(out, "https://b.example is held")
		})
		out := must(t, append([]string{"doctor", "-namespace", "billing"}, flags...)...)
		if strings.Contains(out, warning) || strings.Contains(out, failure) || !strings.Contains(out, "cluster") {
			t.Errorf("got\n%s", out)
		}
	}
	if out := must(t, "clear", "-all", "-namespace", "search", "-redis-cluster", "-redis-url", at(cluster.Nodes[1])); !strings.Contains(out, "Released: https://b.example") {
		t.Errorf("got %q", out)
	}
}

func TestConnect_Sentinel(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t)
	refused(t, fleet(t, s.Master.Client(), "default"), "https://a.example", time.Minute)
	out := must(t, "ls", "-redis-url", "redis://"+s.Addrs[0]+"?master_name="+s.Name+"&addr="+s.Addrs[1])
	if !strings.Contains(out, "https://a.example is held") {
		t.Errorf("got %q", out)
	}
}

func TestConnect_UserAndPassword(t *testing.T) {
	srv := redistest.Start(t)
	as(t, srv, "service", "~*", "&*", "+@all")
	refused(t, fleet(t, srv.Client(), "default"), "https://a.example", time.Minute)
	srv.Client().Do(t.Context(), "ACL", "SETUSER", "default", "off")
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{
		{"-redis-url", "redis://service:" + password + "@" + srv.Addr},
		{"-redis-url", at(srv), "-redis-user", "service", "-redis-password", password},
		{"-redis-url", at(srv), "-redis-user", "service", "-redis-password-file", file},
		{"-redis-url", "redis://service:wrong@" + srv.Addr, "-redis-password", password},
	} {
		if out := must(t, append([]string{"ls"}, flags...)...); !strings.Contains(out, "https://a.example is held") {
			t.Errorf("%q: got %q", flags, out)
		}
	}
	t.Setenv("HOLDOFF_REDIS_USER", "service")
	t.Setenv("HOLDOFF_REDIS_PASSWORD", password)
	if out := must(t, "ls", "-redis-url", at(srv)); !strings.Contains(out, "https://a.example is held") {
		t.Errorf("got %q from the environment", out)
	}
}

func TestConnect_TLS(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	port := redistest.FreePort(t)
	srv := redistest.Start(t, "--tls-port", strconv.Itoa(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert)
	refused(t, fleet(t, srv.Client(), "default"), "https://a.example", time.Minute)
	address := fmt.Sprintf("rediss://127.0.0.1:%d", port)
	// The server asks for a client's certificate as well.
	if out := must(t, "ls", "-redis-url", address, "-redis-ca", cert, "-redis-cert", cert, "-redis-key", key); !strings.Contains(out, "https://a.example is held") {
		t.Errorf("got %q", out)
	}
	status, stdout, stderr := do(t, "doctor", "-redis-url", address)
	if status != exitError || !strings.Contains(stdout, "-redis-ca") {
		t.Errorf("exit status %d, %q%q; want the certificate to be doubted", status, stdout, stderr)
	}
	for _, flags := range [][]string{{"-redis-ca", key}, {"-redis-ca", "/no/such/file"}, {"-redis-cert", cert}, {"-redis-key", key}} {
		if status, _, stderr := do(t, append([]string{"ls", "-redis-url", address}, flags...)...); status == exitOK || !strings.Contains(stderr, flags[0]) {
			t.Errorf("%q: exit status %d, %q", flags, status, stderr)
		}
	}
}

// certificate writes a certificate of 127.0.0.1 that vouches for itself, and its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", privateDER)
}
