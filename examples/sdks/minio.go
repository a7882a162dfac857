package sdks

import (
	"net/http"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Minio makes a minio-go client without retries of its own: MaxRetries counts
// attempts, and 0 means 10 of them.
func Minio(endpoint string, creds *credentials.Credentials, transport http.RoundTripper) (*minio.Client, error) {
	return minio.New(endpoint, &minio.Options{
		Creds:      creds,
		Secure:     true,
		Region:     "us-east-1", // else the client asks for it
		Transport:  transport,
		MaxRetries: 1,
	})
}
