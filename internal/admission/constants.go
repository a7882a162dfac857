package admission

import "github.com/go-holdoff/holdoff/internal/hold"

// Constants returns the numbers of this package that documents state.
func Constants() []hold.Constant {
	return []hold.Constant{
		{Name: "maxKeys", Value: maxKeys}, {Name: "maxWant", Value: maxWant}, {Name: "maxWorkers", Value: maxWorkers},
		{Name: "askSpread", Value: askSpread}, {Name: "rideDelay", Value: rideDelay},
		{Name: "storeTimeout", Value: storeTimeout}, {Name: "storeRetry", Value: storeRetry},
	}
}
