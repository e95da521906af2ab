// Package account decides what an identity is called and what it may do. It
// does not look identities up: that is directory's work.
package account

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An Account is one person as the host knows them at this moment.
type Account struct {
	UID    int
	GID    int    // primary group
	Name   string // login name, as getlogin(3) gives it; may hold '@' and '.'
	Home   string // absolute path, may be empty
	Shell  string
	Groups []Group // all groups, the primary one included
}

// A Group is one Unix group an account is in.
type Group struct {
	GID  int
	Name string
}

// InGroup reports whether the account is in the group called name.
func (a Account) InGroup(name string) bool {
	return slices.ContainsFunc(a.Groups, func(g Group) bool { return g.Name == name })
}

// GroupNames returns the names of the account's groups in their order.
func (a Account) GroupNames() []string {
	names := make([]string, len(a.Groups))
	for i, g := range a.Groups {
		names[i] = g.Name
	}
	return names
}

// RoleGroups names the Unix groups that carry each role.
type RoleGroups struct {
	Docker   string // may use the gateway
	GPU      string // may hold GPUs
	Priority string // stands in the priority class
	Admin    string // administers
}

// Roles is what an account may do on this host.
type Roles struct {
	Docker   bool `json:"docker"`
	GPU      bool `json:"gpu"`
	Priority bool `json:"priority"`
	Admin    bool `json:"admin"`
}

// RolesOf returns the roles of a. Root and members of the admin group
// administer and hold every other role too.
func RolesOf(a Account, g RoleGroups) Roles {
	if a.UID == 0 || a.InGroup(g.Admin) {
		return Roles{Docker: true, GPU: true, Priority: a.InGroup(g.Priority), Admin: true}
	}
	return Roles{Docker: a.InGroup(g.Docker), GPU: a.InGroup(g.GPU), Priority: a.InGroup(g.Priority)}
}

// separator stands between a container's name and its owner's uid at the
// engine, as AIME's mlc writes it.
const separator = "._."

// EngineName returns the name that the engine knows: "<name>._.<uid>".
func EngineName(name string, uid int) string { return name + separator + strconv.Itoa(uid) }

// SplitEngineName undoes EngineName. ok is false for a name that does not end
// in "._.<digits>".
func SplitEngineName(engineName string) (name string, uid int, ok bool) {
	i := strings.LastIndex(engineName, separator)
	if i <= 0 {
		return "", 0, false
	}
	uid, err := strconv.Atoi(engineName[i+len(separator):])
	if err != nil || uid < 0 {
		return "", 0, false
	}
	return engineName[:i], uid, true
}

var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// maxName keeps "<name>._.<uid>" within the 128 characters of an image tag,
// which AIME's mlc makes of it.
const maxName = 112

// ValidContainerName reports whether a person may call a container name:
// letters, digits, '_', '.' and '-', starting with a letter or digit, at most
// 112 characters, without the "._." that separates name and uid.
func ValidContainerName(name string) bool {
	return len(name) <= maxName && validName.MatchString(name) && !strings.Contains(name, separator)
}

// ImageRepository returns the repository prefix that holds an owner's images:
// "ds01-<uid>/".
func ImageRepository(uid int) string { return "ds01-" + strconv.Itoa(uid) + "/" }

// The engine drops the name of Docker's own registry, in either spelling.
var personalImage = regexp.MustCompile(`^(?:(?:index\.)?docker\.io/)?ds01-([0-9]+)/`)

// ImageOwner returns the uid whose personal repository a reference is in, as
// the engine writes references or as clients do. ok is false for a shared
// image.
func ImageOwner(reference string) (uid int, ok bool) {
	m := personalImage.FindStringSubmatch(reference)
	if m == nil {
		return 0, false
	}
	uid, err := strconv.Atoi(m[1])
	return uid, err == nil
}
