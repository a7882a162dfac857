module github.com/go-holdoff/holdoff/cmd/holdoff

go 1.26.0

require (
	github.com/go-holdoff/holdoff v0.0.0
	github.com/peterbourgon/ff/v3 v3.4.0
	github.com/redis/go-redis/v9 v9.23.0
	golang.org/x/term v0.46.0
)

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.72.0 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/go-holdoff/holdoff/telemetry/prometheus v0.0.0
	github.com/hashicorp/go-cleanhttp v0.5.2 // indirect
	github.com/prometheus/client_golang v1.25.0
	go.uber.org/atomic v1.12.0 // indirect
	go.uber.org/goleak v1.3.0
	go.uber.org/multierr v1.10.0 // indirect
	go.uber.org/zap v1.28.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5
	golang.org/x/sys v0.48.0 // indirect
)

replace github.com/go-holdoff/holdoff => ../..

replace github.com/go-holdoff/holdoff/telemetry/prometheus => ../../telemetry/prometheus
