package config

import (
	"fmt"
	"strings"
)

// unknownKey says what is allowed instead of name in the section path, and which key was probably meant.
func unknownKey(path, name string, allowed []string) string {
	problem := "unknown key"
	if guess := nearest(name, allowed); guess != "" {
		problem += fmt.Sprintf("; did you mean `%s`?", guess)
	} else if guess := elsewhere(name); guess != "" {
		problem += fmt.Sprintf("; did you mean `%s`?", guess)
	}
	return problem + " (allowed here: " + strings.Join(allowed, ", ") + ")"
}

// elsewhere finds the one key of that very name in another section: most likely the indentation is wrong.
func elsewhere(name string) string {
	found := ""
	for _, k := range keys {
		if lastName(k.path) != name || strings.Contains(k.path, "[]") {
			continue
		}
		if found != "" {
			return ""
		}
		found = k.path
	}
	return found
}

func lastName(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// nearest returns the candidate that name was probably meant to be, or "" when none is close.
func nearest(name string, candidates []string) string {
	name = strings.ToLower(name)
	if len(name) > 64 {
		return ""
	}
	best, bestDistance := "", 1+max(1, len(name)/3)
	for _, c := range candidates {
		if d := distance(name, c); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the optimal string alignment distance: insertions, deletions, substitutions and swaps of two
// neighbours, each counted once (Damerau 1964).
func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
