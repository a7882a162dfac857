package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Table is a Markdown table. The first column is of words, the others of figures.
type Table struct {
	Head []string
	Rows [][]string
}

func (t Table) String() string {
	var b strings.Builder
	line := func(cells []string) {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	line(t.Head)
	b.WriteString("|---" + strings.Repeat("|--:", len(t.Head)-1) + "|\n")
	for _, row := range t.Rows {
		line(row)
	}
	return b.String()
}

// Noise says that the machine was busy, where the spreads of what was measured say
// so, and else nothing.
func Noise(spreads []float64) string {
	slices.Sort(spreads)
	if len(spreads) == 0 || spreads[len(spreads)/2] < 0.1 {
		return ""
	}
	return fmt.Sprintf("\nThe machine had other work to do: half of the figures have a spread of %.0f %% or more,\n"+
		"and differences of that size mean nothing.\n", 100*spreads[len(spreads)/2])
}

// Figure writes f with three digits, or all that it has before the point.
func Figure(f float64) string {
	switch {
	case f == 0:
		return "0"
	case f >= 99.95:
		return thousands(fmt.Sprintf("%.0f", f))
	case f >= 9.995:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.2f", f)
}

// Count writes n in groups of three digits.
func Count(n int) string { return thousands(strconv.Itoa(n)) }

// thousands puts a space between groups of three digits.
func thousands(digits string) string {
	var b strings.Builder
	for i, r := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}
