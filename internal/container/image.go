package container

import "time"

// Ways in which an image came to its owner.
const (
	ByCommit = "commit"
	ByImport = "import"
	ByLoad   = "load"
	ByBuild  = "build"
)

// An ImageOwner is one row of ds01's own record of images: somebody made this
// one. Several people may own the same image: it is known by its content.
type ImageOwner struct {
	Image string // "sha256:…"
	UID   int
	How   string // ByCommit, …
	Since time.Time
}

// A Making is one image, or those of one archive, that somebody is about to
// make. It is stored before the engine hears of it, so that what the engine
// makes finds its owner whatever becomes of the answer.
type Making struct {
	ID     string // random
	UID    int
	How    string         // ByCommit, …
	Wanted [][]WantedName // of each image
	Since  time.Time
}

// A WantedName is a name that an image shall have.
type WantedName struct {
	Name string // as the engine writes it
	Was  string // the image that it stood for when it was asked for, "" none
}

// Kinds of names that ds01 keeps.
const (
	NameShared = "shared" // others may read the image under its owner's name
	NameLent   = "lent"   // a registry's name, which an image bears while it is pushed
)

// An ImageName is a name of an image that means more than the engine knows.
// Once the name stands for another image the row is void.
type ImageName struct {
	Name  string // as the engine writes it
	Kind  string // NameShared, NameLent
	Image string // "sha256:…"
	UID   int
	Since time.Time
}

// Removed is one step of the removal of an image: a name taken away, or an
// image deleted.
type Removed struct {
	Untagged string `json:",omitempty"`
	Deleted  string `json:",omitempty"`
}
