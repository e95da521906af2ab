package policy

import (
	"slices"
	"strings"

	"ds01.dev/ds01/internal/account"
)

// Named returns the image that a name at a registry means; tag is what stands
// apart from it, as in requests for a pull. all says that no tag means all.
func Named(asked, tag string, all bool) Image {
	i := Image{Asked: asked}
	full := asked
	if tag != "" {
		separator := ":"
		if strings.HasPrefix(tag, "sha256:") {
			separator = "@"
		}
		full = asked + separator + tag
	}
	registry, err := account.ImageRegistry(full)
	name, nerr := account.ImageName(full)
	if err != nil || nerr != nil {
		i.Personal = true
		return i
	}
	i.Registry = strings.ToLower(registry)
	i.Repository, i.Tag, i.Digest = parts(name, registry)
	if _, whole, err := account.ImageRepositoryOf(full); all && !whole && err == nil {
		i.Tag = ""
	}
	return i
}

// Local returns the image of this host that somebody asked for. names are all
// that it has: what was asked for counts if it is one of them, a person's own
// before others', else the first by the alphabet that is nobody's own.
func Local(asked string, uid int, names []string) Image {
	own, err := account.EngineImage(asked, uid)
	if err == nil && slices.Contains(names, own) {
		return Image{Asked: asked, Repository: asked, Personal: true}
	}
	shared := slices.DeleteFunc(slices.Sorted(slices.Values(names)), func(n string) bool {
		_, personal := account.ImageOwner(n)
		return personal
	})
	if name, err := account.ImageName(asked); err == nil && slices.Contains(shared, name) {
		shared = []string{name}
	}
	if len(shared) == 0 {
		return Image{Asked: asked, Repository: asked, Personal: true}
	}
	i := Named(shared[0], "", false)
	i.Asked = asked
	return i
}

// parts takes a name apart that has a tag or a digest.
func parts(name, registry string) (repository, tag, digest string) {
	repository, digest, _ = strings.Cut(name, "@")
	if digest == "" {
		at := strings.LastIndex(repository, ":")
		repository, tag = repository[:at], repository[at+1:]
	}
	repository = strings.TrimPrefix(repository, registry+"/")
	if registry == "docker.io" && !strings.Contains(repository, "/") {
		repository = "library/" + repository
	}
	return repository, tag, digest
}

// WithDigest returns i with the digest that its registry has it by, where one
// of its names says so.
func (i Image) WithDigest(names []string) Image {
	if i.Digest != "" || i.Personal {
		return i
	}
	for _, n := range slices.Sorted(slices.Values(names)) {
		if other := Named(n, "", false); other.Digest != "" && other.Registry == i.Registry && other.Repository == i.Repository {
			i.Digest = other.Digest
			return i
		}
	}
	return i
}
