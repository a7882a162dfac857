package holdoff_test

import (
	"fmt"
	"time"

	"github.com/go-holdoff/holdoff"
)

// A store that keeps a Mirror passes on what it reads of its database.
func ExampleMirror() {
	var m holdoff.Mirror
	stop := m.Watch("https://api.example.com", func(scope string, state holdoff.State) {
		fmt.Printf("%q is %v\n", scope, state.Phase)
	})
	defer stop()

	held := holdoff.State{Phase: holdoff.Held, Until: time.Now().Add(time.Minute), Version: 1}
	m.Put("https://api.example.com /v1/search/*", held, false)
	m.Put("https://api.example.com /v1/search/*", holdoff.State{Version: 2}, false)
	m.Put("https://api.example.com /v1/search/*", held, false) // it is older, and arrives late
	m.Put("https://other.example.com", held, false)
	// Output:
	// "/v1/search/*" is held
	// "/v1/search/*" is healthy
}
