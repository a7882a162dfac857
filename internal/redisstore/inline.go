package redisstore

import (
	"regexp"
	"strings"
)

var (
	luaConstants = regexp.MustCompile(`(?m)^local ([A-Z_]+(?:, [A-Z_]+)*) = (\d+(?:, \d+)*)$`)
	luaName      = regexp.MustCompile(`\b[A-Z_]+\b`)
)

// inline puts the constants that a script declares in their places. Redis makes the
// functions of a script at each run, and looks up each local that a function uses: with
// some 50 constants that is an eighth of the script's time.
func inline(script string) string {
	values := make(map[string]string)
	script = luaConstants.ReplaceAllStringFunc(script, func(line string) string {
		m := luaConstants.FindStringSubmatch(line)
		numbers := strings.Split(m[2], ", ")
		for i, name := range strings.Split(m[1], ", ") {
			values[name] = numbers[i]
		}
		return ""
	})
	return luaName.ReplaceAllStringFunc(script, func(word string) string {
		if value, ok := values[word]; ok {
			return value
		}
		return word
	})
}
