package admission

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const notLoaded = "Images not loaded"

// Documents of an archive of images that say what the images are called.
const (
	Manifest     = "manifest.json"
	Repositories = "repositories" // of archives older than 2016, and beside a manifest for those who read them
	Index        = "index.json"
)

// An archived image is one entry of an archive's manifest.
type archived struct {
	Config       string   `json:"Config"`
	RepoTags     []string `json:"RepoTags"`
	Layers       []string `json:"Layers"`
	Parent       string   `json:"Parent,omitzero"`
	LayerSources Ignored  `json:"LayerSources,omitzero"`
}

// ChangeNames reads the manifest of an archive that is to be loaded, and
// returns the one that is sent in its place: change gets the names of each
// image in order, and returns the one that each has there. Whoever loads names
// them afterwards, so that no other name is ever moved. Parents are left out: the
// engine would take what is loaded for what somebody's build has made of them.
func ChangeNames(data []byte, change func(names [][]string) ([]string, error)) ([]byte, error) {
	var images []archived
	if err := decode(notLoaded, data, &images); err != nil {
		return nil, err
	}
	names := make([][]string, len(images))
	for i := range images {
		names[i] = images[i].RepoTags
	}
	given, err := change(names)
	if err != nil {
		return nil, err
	}
	for i := range images {
		images[i].RepoTags, images[i].Parent = given[i:i+1], ""
	}
	return Encode(images)
}

// TakeIndexNames returns an archive's index without annotations: newer engines
// read names there.
func TakeIndexNames(data []byte) ([]byte, error) {
	var index struct {
		SchemaVersion int            `json:"schemaVersion"`
		MediaType     string         `json:"mediaType,omitzero"`
		Annotations   Ignored        `json:"annotations,omitzero"`
		Manifests     []indexedImage `json:"manifests"`
	}
	if err := decode(notLoaded, data, &index); err != nil {
		return nil, err
	}
	return Encode(index)
}

type indexedImage struct {
	MediaType    string         `json:"mediaType"`
	Digest       string         `json:"digest"`
	Size         int64          `json:"size"`
	Annotations  Ignored        `json:"annotations,omitzero"`
	Platform     jsontext.Value `json:"platform,omitzero"`
	ArtifactType string         `json:"artifactType,omitzero"`
}

// RenameManifest returns the manifest of an archive that the engine made with
// other names in it: show returns those that are told.
func RenameManifest(data []byte, show func([]string) []string) ([]byte, error) {
	var images []struct {
		RepoTags []string       `json:"RepoTags"`
		Rest     jsontext.Value `json:",embed"`
	}
	if err := json.Unmarshal(data, &images); err != nil {
		return nil, fmt.Errorf("read the engine's manifest: %w", err)
	}
	for i := range images {
		if len(images[i].RepoTags) > 0 {
			images[i].RepoTags = show(images[i].RepoTags)
		}
	}
	return json.Marshal(images, json.FormatNilSliceAsNull(true))
}

// Credentials is the body of POST /auth.
type Credentials struct {
	Username      string `json:"username,omitzero"`
	Password      string `json:"password,omitzero"`
	Auth          string `json:"auth,omitzero"`
	Email         string `json:"email,omitzero"`
	ServerAddress string `json:"serveraddress,omitzero"`
	IdentityToken string `json:"identitytoken,omitzero"`
	RegistryToken string `json:"registrytoken,omitzero"`
}

// ReviewAuth reads the body of a login at a registry.
func ReviewAuth(data []byte) (Credentials, error) {
	var c Credentials
	err := decode("Not logged in", data, &c)
	return c, err
}
