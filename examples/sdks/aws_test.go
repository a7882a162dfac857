package sdks_test

import (
	"bytes"
	"context"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/go-holdoff/holdoff/examples/sdks"
)

var awsGo = sdk{
	name: "aws-sdk-go-v2", module: "github.com/aws/aws-sdk-go-v2",
	down: `<Error><Code>ServiceUnavailable</Code></Error>`,
	busy: `<Error><Code>TooManyRequestsException</Code></Error>`,
	open: func(t *testing.T, s *server, set setting) (read, write call) {
		client := s3.NewFromConfig(awsConfig(t, s, set))
		return call{"s3 GetObject", func(ctx context.Context) error {
				out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: new("b"), Key: new("k")})
				if err == nil {
					out.Body.Close()
				}
				return err
			}}, call{"s3 PutObject", func(ctx context.Context) error {
				_, err := client.PutObject(ctx, &s3.PutObjectInput{
					Bucket: new("b"), Key: new("k"), Body: bytes.NewReader([]byte("hi")),
				})
				return err
			}}
	},
}

func awsConfig(t *testing.T, s *server, set setting) aws.Config {
	t.Helper()
	options := []func(*config.LoadOptions) error{
		config.WithRegion("us-east-1"),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("id", "secret", "")),
	}
	var cfg aws.Config
	var err error
	if set.copied {
		options = append(options, config.WithHTTPClient(awshttp.NewBuildableClient().
			WithTransportOptions(func(base *http.Transport) { s.reach(t, base) })))
		cfg, err = sdks.AWS(t.Context(), nil, options...)
	} else {
		options = append(options, config.WithHTTPClient(set.client(t, s)))
		if !set.own {
			options = append(options, config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }))
		}
		cfg, err = config.LoadDefaultConfig(t.Context(), options...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}
