package apitype

import "time"

// Image is one image as the caller sees it.
type Image struct {
	ID        string      `json:"id"`
	Names     []ImageName `json:"names"`  // empty: it has none
	Owners    []string    `json:"owners"` // login names of those who made it; the caller's own, for admins everybody's
	SizeBytes int64       `json:"size_bytes"`
	CreatedAt time.Time   `json:"created_at"`
}

// ImageName is one name of an image.
type ImageName struct {
	Name     string `json:"name"`      // as the caller writes it
	FullName string `json:"full_name"` // as others write it once it is shared
	User     string `json:"user"`      // whose name it is, "" for everybody's
	Shared   bool   `json:"shared"`    // everybody may read the image by the full name
}

// NameImage names the image that something is done to, by name or id.
type NameImage struct {
	Name string `json:"name"`
}

// RemovedImage is one step of the removal of an image.
type RemovedImage struct {
	Untagged string `json:"untagged,omitempty"` // a name that was taken away
	Deleted  string `json:"deleted,omitempty"`  // the id of an image that is gone
}
