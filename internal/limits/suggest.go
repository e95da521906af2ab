package limits

import "strings"

// nearest returns the name that word most likely misspells, or "".
func nearest(word string, names []string) string {
	best, least := "", len(word)/3+1
	for _, n := range names {
		if d := distance(strings.ToLower(word), n); d <= least && (best == "" || d < least) {
			best, least = n, d
		}
	}
	for _, n := range names {
		if best == "" && len(word) > 2 && strings.Contains(n, strings.ToLower(word)) {
			best = n
		}
	}
	return best
}

// maxWord bounds what is compared: no key is longer.
const maxWord = 40

// distance counts the letters to insert, delete or replace to make b of a.
func distance(a, b string) int {
	if len(a) > maxWord {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
