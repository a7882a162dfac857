module github.com/go-holdoff/holdoff

go 1.26.0

require (
	github.com/hashicorp/go-cleanhttp v0.5.2
	go.uber.org/goleak v1.3.0
	go.uber.org/zap v1.28.0
)

require go.uber.org/multierr v1.10.0 // indirect
