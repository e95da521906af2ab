package safety

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
)

// A Version is a program's number. The zero value is an unknown one.
type Version struct {
	Major, Minor, Patch int
	Pre                 bool // a release candidate and the like, below the release
}

var numbers = regexp.MustCompile(`(?:^|[^0-9.])(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?([-~]?(?:rc|beta|alpha|dev)[0-9.]*)?`)

// ParseVersion reads the first number in what a program prints about itself:
// "runc version 1.1.5+ds1", "v1.17.8", "24.0". ok is false where there is
// none.
func ParseVersion(text string) (v Version, ok bool) {
	m := numbers.FindStringSubmatch(text)
	if m == nil {
		return Version{}, false
	}
	for i, field := range []*int{&v.Major, &v.Minor, &v.Patch} {
		if m[i+1] != "" {
			*field, _ = strconv.Atoi(m[i+1]) // at most four digits
		}
	}
	v.Pre = m[4] != ""
	return v, true
}

// Less reports whether v is older than w.
func (v Version) Less(w Version) bool {
	order := cmp.Or(cmp.Compare(v.Major, w.Major), cmp.Compare(v.Minor, w.Minor), cmp.Compare(v.Patch, w.Patch))
	return order < 0 || order == 0 && v.Pre && !w.Pre
}

// String returns the number as its makers write it.
func (v Version) String() string {
	text := fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)
	if v.Pre {
		text += " (a pre-release)"
	}
	return text
}
