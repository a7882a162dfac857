package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestRun_BothClients_AreReported(t *testing.T) {
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"-for", "300ms"}, &out, &errs); status != 0 {
		t.Fatalf("status %d: %s", status, errs.String())
	}
	for _, want := range []string{"each retries by itself", "holdoff", "tokens used"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, out.String())
		}
	}
}

func TestRun_InvalidArguments_AreRefused(t *testing.T) {
	for _, args := range [][]string{{"-for", "0s"}, {"x"}, {"-no"}} {
		if status := run(t.Context(), args, new(bytes.Buffer), new(bytes.Buffer)); status != 2 {
			t.Errorf("%q: status %d, want 2", args, status)
		}
	}
}
