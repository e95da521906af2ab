// Package label names the one label namespace, aime.mlc.*, that containers
// and images carry for people and for AIME's mlc. Labels describe; nothing is
// decided by them.
package label

import (
	"encoding/json"
	"slices"
	"strings"
)

// Label keys. Values never hold a comma: AIME's own "mlc list" splits on it.
const (
	Login       = "aime.mlc"              // owner's login name
	User        = "aime.mlc.USER"         // owner's login name
	Name        = "aime.mlc.NAME"         // the person's name for the container
	Framework   = "aime.mlc.FRAMEWORK"    // "Pytorch-2.8.0", or the image
	Arch        = "aime.mlc.ARCH"         // "-" where unknown
	Version     = "aime.mlc.MLC_VERSION"  // "4"
	WorkMount   = "aime.mlc.WORK_MOUNT"   // host path or "-"
	DataMount   = "aime.mlc.DATA_MOUNT"   // host path or "-"
	ModelsMount = "aime.mlc.MODELS_MOUNT" // host path or "-"
	GPUs        = "aime.mlc.GPUS"         // number of devices
	Managed     = "aime.mlc.DS01_MANAGED" // "true"
	UID         = "aime.mlc.DS01_UID"
	Interface   = "aime.mlc.DS01_INTERFACE"
	Origin      = "aime.mlc.DS01_ORIGIN"
	Protected   = "aime.mlc.DS01_PROTECTED"
	Created     = "aime.mlc.DS01_CREATED" // RFC 3339
	Claim       = "aime.mlc.DS01_CLAIM"
	GPUUUIDs    = "aime.mlc.DS01_GPU_UUIDS" // separated by ';'
	GPUSlots    = "aime.mlc.DS01_GPU_SLOTS" // "G" or "G.I", separated by ';'
)

// Keys returns every key that ds01 writes, in the order of a container's
// life.
func Keys() []string {
	return []string{
		Login, User, Name, Framework, Arch, Version, WorkMount, DataMount, ModelsMount, GPUs,
		Managed, UID, Interface, Origin, Protected, Created, Claim, GPUUUIDs, GPUSlots,
	}
}

// None is the value of a mount label where nothing is mounted.
const None = "-"

// Interfaces a container can come by.
const (
	Orchestration = "orchestration" // container deploy
	Atomic        = "atomic"        // container create, run
	MLC           = "mlc"
	Docker        = "docker"
	Compose       = "compose"
	DevContainer  = "devcontainer"
	API           = "api"
)

// Reserved reports whether only ds01 may write the label key: everything that
// begins with "aime.mlc" or "ds01", in any case.
func Reserved(key string) bool {
	k := strings.ToLower(key)
	return strings.HasPrefix(k, "aime.mlc") || strings.HasPrefix(k, "ds01")
}

// Clean returns value as a label may hold it: commas become ';', control
// characters are dropped.
func Clean(value string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ',':
			return ';'
		case r < ' ' || r == 0x7f:
			return -1
		default:
			return r
		}
	}, value)
}

// ClientOf tells Docker's own command from other programs, by how a client names
// itself.
func ClientOf(userAgent string) string {
	if strings.HasPrefix(userAgent, "Docker-Client/") {
		return Docker
	}
	return API
}

// RemoteUser returns as whom a Dev Container is to be worked in, as its editor
// wrote it down: the last entry that names somebody holds. "" where the labels
// don't tell: then it is whom the container runs as; and where they name somebody
// by a variable, whose value only the editor knows.
func RemoteUser(labels map[string]string) string {
	var entries []struct {
		RemoteUser string `json:"remoteUser"`
	}
	if json.Unmarshal([]byte(labels["devcontainer.metadata"]), &entries) != nil {
		return ""
	}
	for _, e := range slices.Backward(entries) {
		switch {
		case strings.Contains(e.RemoteUser, "${"):
			return ""
		case e.RemoteUser != "":
			return e.RemoteUser
		}
	}
	return ""
}

// InterfaceOf tells by which interface a client that is not ours made a
// container, from the labels it sent; where they don't tell, it was client.
// Labels describe only.
func InterfaceOf(labels map[string]string, client string) string {
	for key := range labels {
		if strings.HasPrefix(key, "devcontainer.") {
			return DevContainer
		}
	}
	for key := range labels {
		if strings.HasPrefix(key, "com.docker.compose.") {
			return Compose
		}
	}
	if labels[Login] != "" && labels[Name] != "" {
		return MLC
	}
	return client
}
