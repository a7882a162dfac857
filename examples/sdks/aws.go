package sdks

import (
	"context"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/vendors"
)

// AWS makes a configuration for clients of aws-sdk-go-v2. The SDK goes on
// retrying, since it signs each attempt again; the Transport below it obeys
// holds, and learns from refusals for the whole fleet.
//
// It is wrapped when the configuration has been loaded: with AWS_CA_BUNDLE in
// the environment, loading fails if it is given an http.Client.
func AWS(ctx context.Context, store holdoff.Store, options ...func(*config.LoadOptions) error) (aws.Config, error) {
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, err
	}
	client, ok := cfg.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		client = awshttp.NewBuildableClient()
	}
	cfg.HTTPClient = &http.Client{Transport: &holdoff.Transport{
		Base:        client.GetTransport(),
		Classify:    vendors.AWS(nil),
		Route:       vendors.AWSRoute,
		MaxAttempts: 1,
		Store:       store,
	}}
	return cfg, nil
}
