package sdks_test

import (
	"encoding/pem"
	"errors"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/examples/sdks"
)

// With AWS_CA_BUNDLE in the environment no http.Client can be given to the
// SDK as it loads its configuration. Wrapped afterwards, it trusts the bundle.
func TestAWSBundle(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(bundle, block, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", bundle)

	client := &http.Client{Transport: &holdoff.Transport{}}
	_, err := config.LoadDefaultConfig(t.Context(), config.WithHTTPClient(client))
	if err == nil || !strings.Contains(err.Error(), "WithTransportOptions") {
		t.Errorf("with an http.Client: got %v, want that it has no WithTransportOptions", err)
	}

	cfg, err := sdks.AWS(t.Context(), nil, config.WithRegion("us-east-1"),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("id", "secret", "")))
	if err != nil {
		t.Fatal(err)
	}
	cfg.BaseEndpoint = &server.URL
	out, err := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }).
		GetObject(t.Context(), &s3.GetObjectInput{Bucket: new("b"), Key: new("k")})
	if err != nil {
		t.Fatalf("wrapped when it was loaded: got %v, want a server that the bundle trusts", err)
	}
	out.Body.Close()
}

// A signature is good for five minutes (of S3, fifteen). Sent again below the
// SDK after a long wait, a request has its old one; retried by the SDK, it is
// signed again, and fails at once where it would have to wait too long.
func TestAWSSignaturesExpire(t *testing.T) {
	const life = 5 * time.Minute
	patient := func(base http.RoundTripper) http.RoundTripper {
		return &holdoff.Transport{Base: base, MaxWait: time.Hour, MaxHold: time.Hour}
	}
	for _, test := range []struct {
		name  string
		hint  string
		wrap  func(http.RoundTripper) http.RoundTripper // nil: as sdks.AWS does
		stale int                                       // how many were sent with an old signature
		held  bool
		ok    bool
	}{
		{"sent again by the Transport", "360", patient, 1, false, false},
		{"retried by the SDK", "30", nil, 0, false, true},
		{"retried by the SDK, after too long a hint", "360", nil, 0, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stale := 0
				s := serve(t, func(n int, r *http.Request) answer {
					signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
					switch {
					case err != nil:
						t.Error(err)
					case time.Since(signed) > life:
						stale++
						return answer{http.StatusForbidden, nil, `<Error><Code>RequestTimeTooSkewed</Code></Error>`}
					case n == 0:
						return answer{http.StatusServiceUnavailable, http.Header{"Retry-After": {test.hint}}, awsGo.down}
					}
					return answer{http.StatusOK, nil, ""}
				})
				cfg := awsConfig(t, s, setting{copied: true})
				if test.wrap != nil {
					cfg = awsConfig(t, s, setting{})
					cfg.HTTPClient = &http.Client{Transport: test.wrap(setting{}.wire(t, s))}
				}
				_, err := s3.NewFromConfig(cfg).GetObject(t.Context(), &s3.GetObjectInput{Bucket: new("b"), Key: new("k")})
				_, held := errors.AsType[*holdoff.HeldError](err)
				if stale != test.stale || held != test.held || (err == nil) != test.ok {
					t.Errorf("got %v, %d of %d requests with an old signature", err, stale, s.sends())
				}
			})
		})
	}
}

// DynamoDB throttles with a 400 whose body says so. It is recognised, and the
// SDK gets its error as ever.
func TestAWSThrottleCodes(t *testing.T) {
	const body = `{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"slow down"}`
	for _, test := range []struct {
		set  setting
		want holdoff.Ending
	}{
		{setting{own: true, holdoff: 1}, holdoff.EndFinal}, // by default a 400 is the caller's fault
		{setting{copied: true}, holdoff.EndAttempts},       // this one could be sent again
	} {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, func(int, *http.Request) answer {
				sum := strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(body))), 10)
				return answer{http.StatusBadRequest, http.Header{
					"Content-Type": {"application/x-amz-json-1.0"}, "X-Amz-Crc32": {sum},
				}, body}
			})
			var out holdoff.Outcome
			_, err := dynamodb.NewFromConfig(awsConfig(t, s, test.set)).
				DescribeTable(holdoff.WithOutcome(t.Context(), &out), &dynamodb.DescribeTableInput{TableName: new("t")})
			refused, ok := errors.AsType[*types.ProvisionedThroughputExceededException](err)
			if !ok || aws.ToString(refused.Message) != "slow down" || s.sends() != 3 {
				t.Errorf("got %v after %d sends, want the SDK's own error after 3", err, s.sends())
			}
			if out.Ended != test.want {
				t.Errorf("got %q, want %q", out.Ended, test.want)
			}
		})
	}
}
