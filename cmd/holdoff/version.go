package main

import (
	"context"
	"flag"
	"fmt"
	"runtime/debug"

	"github.com/go-holdoff/holdoff/internal/redisstore"
)

func setupVersion(*flag.FlagSet) func(context.Context, *env, []string) error {
	return func(_ context.Context, e *env, rest []string) error {
		if len(rest) > 0 {
			return usagef("it takes no arguments")
		}
		version, goVersion := "(devel)", "an unknown Go"
		if info, ok := debug.ReadBuildInfo(); ok {
			goVersion = info.GoVersion
			if info.Main.Version != "" {
				version = info.Main.Version
			}
		}
		_, err := fmt.Fprintf(e.out, "holdoff %s, of %s; records of version %s\n", version, goVersion, redisstore.WireVersion)
		return err
	}
}
