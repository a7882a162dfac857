package sdks_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/elastic/go-elasticsearch/v9"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/go-holdoff/holdoff"
)

// large is more than a Transport remembers of a body that has no GetBody.
var large = bytes.Repeat([]byte("x"), 1<<20)

// Some SDKs hand down bodies that can't be read twice. A large one is sent
// once, and its response returned; the SDK, which has the original, can send it
// again.
func TestBodiesThatCantBeSentAgain(t *testing.T) {
	for _, test := range []struct {
		sdk
		put func(ctx context.Context, t *testing.T, s *server, set setting) error
	}{
		{awsGo, func(ctx context.Context, t *testing.T, s *server, set setting) error {
			_, err := s3.NewFromConfig(awsConfig(t, s, set)).PutObject(ctx, &s3.PutObjectInput{
				Bucket: new("b"), Key: new("k"), Body: bytes.NewReader(large),
			})
			return err
		}},
		{minioGo, func(ctx context.Context, t *testing.T, s *server, set setting) error {
			options := &minio.Options{
				Creds:  credentials.NewStaticV4("id", "secret", ""),
				Secure: true, Region: "us-east-1", Transport: set.wire(t, s), MaxRetries: 1,
			}
			if set.own {
				options.MaxRetries = 0
			}
			client, err := minio.New("s3.example", options)
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.PutObject(ctx, "bucket", "k", bytes.NewReader(large), int64(len(large)), minio.PutObjectOptions{})
			return err
		}},
		{elasticSearch, func(ctx context.Context, t *testing.T, s *server, set setting) error {
			options := []elastictransport.Option{elastictransport.WithTransport(set.wire(t, s))}
			if !set.own {
				options = append(options, elastictransport.WithDisableRetry())
			}
			client, err := elasticsearch.New(elasticsearch.WithAddresses("http://es.example"), elasticsearch.WithTransportOptions(options...))
			if err != nil {
				t.Fatal(err)
			}
			stream := io.MultiReader(bytes.NewReader(large))
			return esResult(client.Index("i", stream, client.Index.WithDocumentID("1"), client.Index.WithContext(ctx)))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, own := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					s := serve(t, first(answer{http.StatusServiceUnavailable, nil, test.down}, test.sdk))
					set, want, sends := setting{holdoff: 4}, holdoff.EndBody, 1
					if own {
						set, want, sends = setting{holdoff: 1, own: true}, holdoff.EndDone, 2
					}
					var out holdoff.Outcome
					err := test.put(holdoff.WithOutcome(t.Context(), &out), t, s, set)
					if (err == nil) != own || out.Ended != want || s.sends() != sends {
						t.Errorf("retried by the SDK: %v: got %v, %q after %d sends; want %q after %d", own, err, out.Ended, s.sends(), want, sends)
					}
				})
			}
		})
	}
}
