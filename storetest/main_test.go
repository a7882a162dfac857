package storetest

import (
	"testing"

	"go.uber.org/goleak"
)

// Whatever a rule starts ends with it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
