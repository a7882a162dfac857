package sdks_test

import (
	"bytes"
	"context"
	"net/http"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/go-holdoff/holdoff/examples/sdks"
)

var minioGo = sdk{
	name: "minio-go", module: "github.com/minio/minio-go/v7",
	header: http.Header{"Last-Modified": {"Mon, 02 Jan 2006 15:04:05 GMT"}, "Etag": {`"e"`}},
	down:   `<Error><Code>SlowDown</Code></Error>`,
	open: func(t *testing.T, s *server, set setting) (read, write call) {
		creds := credentials.NewStaticV4("id", "secret", "")
		client, err := sdks.Minio("s3.example", creds, set.wire(t, s))
		if set.own {
			client, err = minio.New("s3.example", &minio.Options{
				Creds: creds, Secure: true, Region: "us-east-1", Transport: set.wire(t, s),
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		return call{"StatObject", func(ctx context.Context) error {
				_, err := client.StatObject(ctx, "bucket", "k", minio.StatObjectOptions{})
				return err
			}}, call{"PutObject", func(ctx context.Context) error {
				_, err := client.PutObject(ctx, "bucket", "k", bytes.NewReader([]byte("hi")), 2, minio.PutObjectOptions{})
				return err
			}}
	},
}
