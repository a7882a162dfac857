package redisstore

// Numbers cross to the scripts and into records packed: each in packedSize bytes, the
// highest first. Scripts read them several times as fast as text.

const (
	packedSize = 7
	maxPacked  = 1<<53 - 1 // Lua's numbers are exact up to here
)

// pack packs numbers. What is out of [0, maxPacked] becomes the nearer end.
func pack(numbers ...int64) string {
	b := make([]byte, 0, packedSize*len(numbers))
	for _, n := range numbers {
		n = min(max(n, 0), maxPacked)
		b = append(b, byte(n>>48), byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return string(b)
}

// fields reads packed numbers one after the other.
type fields struct {
	rest string
	bad  bool
}

func (f *fields) next() int64 {
	if len(f.rest) < packedSize {
		f.bad = true
		return 0
	}
	var n int64
	for _, b := range []byte(f.rest[:packedSize]) {
		n = n<<8 | int64(b)
	}
	f.rest = f.rest[packedSize:]
	return n
}

func (f *fields) skip(n int) {
	for range n {
		f.next()
	}
}

func (f *fields) flag() bool { return f.next() > 0 }

// count reads a number that hold bounds by maxCount: anybody may have written a larger one.
func (f *fields) count() int { return int(min(f.next(), 1<<30)) }
