package takeover

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Files of subordinate ids, see subuid(5).
const (
	SubUID = "/etc/subuid"
	SubGID = "/etc/subgid"
)

// Where Remapper's range may be: above the ids that people's directories give
// out, and below the two highest, which mean nobody. It is large, so that
// images with high ids fit, and no smaller than leastRange.
const (
	rangesFrom = 1 << 31
	rangesTo   = rangesFrom + 2_147_000_000
	leastRange = 1 << 24
)

// A span of ids, without its end.
type ids struct{ from, to int64 }

// subordinate returns the contents of both files with a range for Remapper,
// the same in both. One that is there stays.
func subordinate(subuid, subgid []byte) (uids, gids []byte, err error) {
	uid, hasUID := rangeOf(subuid)
	gid, hasGID := rangeOf(subgid)
	chosen := uid
	switch {
	case hasUID && hasGID && uid != gid:
		return nil, nil, stays(fmt.Sprintf("%s has other ids in %s than in %s", Remapper, SubUID, SubGID), "Give it the same in both, or take its lines out.")
	case hasGID:
		chosen = gid
	case !hasUID:
		var ok bool
		if chosen, ok = freeRange(slices.Concat(taken(subuid), taken(subgid))); !ok {
			return nil, nil, stays(fmt.Sprintf("no %d ids from %d on are free in %s and %s", leastRange, rangesFrom, SubUID, SubGID),
				fmt.Sprintf("Write a line '%s:FIRST:COUNT' into both, with ids that nobody has on the host, or in its directories.", Remapper))
		}
	}
	line := fmt.Sprintf("%s:%d:%d\n", Remapper, chosen.from, chosen.to-chosen.from)
	uids, gids = subuid, subgid
	if !hasUID {
		uids = withLine(subuid, line)
	}
	if !hasGID {
		gids = withLine(subgid, line)
	}
	return uids, gids, nil
}

// freeRange returns the largest range that meets none of those.
func freeRange(those []ids) (free ids, ok bool) {
	slices.SortFunc(those, func(a, b ids) int { return cmp.Compare(a.from, b.from) })
	from := int64(rangesFrom)
	for _, t := range append(those, ids{rangesTo, rangesTo}) {
		if to := min(t.from, rangesTo); to-from > free.to-free.from {
			free = ids{from, to}
		}
		from = max(from, t.to)
	}
	return free, free.to-free.from >= leastRange
}

// rangeOf returns the first range of Remapper's in a file.
func rangeOf(text []byte) (ids, bool) {
	for line := range strings.Lines(string(text)) {
		if name, span, ok := parseRange(line); ok && name == Remapper {
			return span, true
		}
	}
	return ids{}, false
}

func taken(text []byte) []ids {
	var all []ids
	for line := range strings.Lines(string(text)) {
		if _, span, ok := parseRange(line); ok {
			all = append(all, span)
		}
	}
	return all
}

// parseRange reads a line "name:first:count". What isn't one gives nobody ids.
func parseRange(line string) (name string, span ids, ok bool) {
	f := strings.Split(strings.TrimSpace(line), ":")
	if len(f) != 3 {
		return "", ids{}, false
	}
	from, err := strconv.ParseInt(f[1], 10, 33)
	count, countErr := strconv.ParseInt(f[2], 10, 33)
	return f[0], ids{from, from + count}, err == nil && countErr == nil && from >= 0 && count > 0
}

func withLine(text []byte, line string) []byte {
	if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
		line = "\n" + line
	}
	return append(slices.Clone(text), line...)
}

// withoutRange takes Remapper's lines out.
func withoutRange(text []byte) []byte {
	out := []byte{}
	for line := range bytes.Lines(text) {
		if !bytes.HasPrefix(line, []byte(Remapper+":")) {
			out = append(out, line...)
		}
	}
	return out
}

// settingsOf reads daemon.json; an empty one has no member.
func settingsOf(text []byte) ([]member, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return []member{}, nil
	}
	return members(text)
}

// remapping returns the engine's settings with which it remaps. Everything else
// stays.
func remapping(text []byte) ([]byte, error) {
	all, err := settingsOf(text)
	if err != nil {
		return nil, err
	}
	if index(all, remapKey) >= 0 {
		return text, nil
	}
	return append(write(append(all, member{remapKey, json.RawMessage(asDefault)}), indentOf(text)), '\n'), nil
}

// withoutRemap takes the setting out. One that somebody else wrote, or a file
// that can't be read, stays.
func withoutRemap(text []byte) []byte {
	all, err := settingsOf(text)
	i := index(all, remapKey)
	if err != nil || i < 0 || string(all[i].value) != asDefault {
		return text
	}
	return append(write(slices.Delete(all, i, i+1), indentOf(text)), '\n')
}
