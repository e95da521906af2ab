package account

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/distribution/reference"

	"ds01.dev/ds01/internal/problem"
)

// untagged is the repository in which an image is kept for somebody who needs
// it after its last name was taken away.
const untagged = "untagged"

// EngineImage returns the name at the engine of what uid calls reference:
// "ds01-<uid>/mine:latest" for "mine". The host of a registry becomes a
// component of the path, its ':' written "__": "ds01-<uid>/reg__5000/x:1" for
// "reg:5000/x:1". What is in the own repository already stays as it is. A
// reference in somebody else's is an error of kind problem.ErrNotFound; an id,
// a digest, a mark and what can't be told apart from another name,
// problem.ErrInvalid.
func EngineImage(reference string, uid int) (string, error) {
	name, err := engineImage(reference, uid)
	if err == nil && IsMark(name) {
		return "", fmt.Errorf("%q is kept for images without a name: %w", reference, problem.ErrInvalid)
	}
	return name, err
}

func engineImage(reference string, uid int) (string, error) {
	named, err := tagged(reference)
	if err != nil {
		return "", err
	}
	familiar := familiarName(named)
	owner, personal := ImageOwner(familiar)
	switch {
	case personal && owner == uid && strings.HasPrefix(familiar, ImageRepository(uid)):
		return familiar, nil
	case personal:
		return "", fmt.Errorf("%q is in somebody's own repository: %w", reference, problem.ErrNotFound)
	}
	return underOwner(named, familiar, uid)
}

func underOwner(named reference.NamedTagged, familiar string, uid int) (string, error) {
	path := familiar
	if host := reference.Domain(named); host != dockerHub {
		path = strings.ReplaceAll(strings.ToLower(host), ":", "__") + "/" + reference.Path(named) + ":" + named.Tag()
	}
	engine := ImageRepository(uid) + path
	again, err := reference.ParseNormalizedNamed(OwnImage(engine, uid))
	if err == nil {
		_, err = reference.ParseNormalizedNamed(engine)
	}
	if err != nil || !strings.EqualFold(again.String(), named.String()) { // it would be shown as another name
		return "", fmt.Errorf("%q can't be a name of one's own here: %w", familiar, problem.ErrInvalid)
	}
	return engine, nil
}

// dockerHub is the registry that names without a host speak of.
const dockerHub = "docker.io"

// tagged reads a name with a tag; without one it is latest.
func tagged(text string) (reference.NamedTagged, error) {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no name of an image: %w", text, problem.ErrInvalid)
	}
	full, ok := reference.TagNameOnly(named).(reference.NamedTagged)
	_, digested := named.(reference.Digested)
	if digest := familiarName(reference.TrimNamed(named)) == "sha256"; !ok || digested || digest {
		return nil, fmt.Errorf("%q has no tag: %w", text, problem.ErrInvalid)
	}
	return full, nil
}

// familiarName returns a name as the engine writes it: without Docker's own
// registry.
func familiarName(named reference.Named) string { return reference.FamiliarString(named) }

// A registry's host as a component: it has a dot or a port, or is localhost.
var hostComponent = regexp.MustCompile(`^(?:localhost|[a-z0-9-]+(?:\.[a-z0-9-]+)+|[a-z0-9.-]+__[0-9]+)$`)

// OwnImage returns what uid calls an image of theirs, from its name at the
// engine. Another name is returned as it is.
func OwnImage(engineName string, uid int) string {
	path, own := strings.CutPrefix(engineName, ImageRepository(uid))
	if !own {
		return engineName
	}
	host, rest, some := strings.Cut(path, "/")
	if !some || !hostComponent.MatchString(host) {
		return path
	}
	return strings.Replace(host, "__", ":", 1) + "/" + rest
}

// KeptImage returns the name under which an image is kept for uid when it
// loses its last other name: "ds01-<uid>/untagged:<12 digits of its id>".
func KeptImage(id string, uid int) string {
	digits := strings.TrimPrefix(id, "sha256:")
	return ImageRepository(uid) + untagged + ":" + digits[:min(len(digits), 12)]
}

// marks is the repository in which images are that have no name for people.
const marks = "ds01-nameless"

// ImageMark returns the name under which the engine keeps an image of uid's
// that has no name for people: "ds01-<uid>/ds01-nameless:<tag>". Nobody can
// give it, and nobody is shown it.
func ImageMark(uid int, tag string) string { return ImageRepository(uid) + marks + ":" + tag }

// MarkTag returns the tag of a mark; mark is false for any other name.
func MarkTag(engineName string) (tag string, mark bool) {
	if _, personal := ImageOwner(engineName); !personal {
		return "", false
	}
	_, path, _ := strings.Cut(engineName, "/")
	return strings.CutPrefix(path, marks+":")
}

// IsMark reports whether a name at the engine is a mark.
func IsMark(engineName string) bool {
	_, mark := MarkTag(engineName)
	return mark
}

// ImageName returns a reference as the engine writes it, with its tag or
// digest; "busybox:latest" for "docker.io/library/busybox". A text that is no
// name, such as an id, is an error of kind problem.ErrInvalid.
func ImageName(text string) (string, error) {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return "", fmt.Errorf("%q is no name of an image: %w", text, problem.ErrInvalid)
	}
	if digested, ok := named.(reference.Digested); ok { // the engine drops a tag beside it
		return familiarName(reference.TrimNamed(named)) + "@" + digested.Digest().String(), nil
	}
	return familiarName(reference.TagNameOnly(named)), nil
}

// ImageRepositoryOf returns the repository of a reference as the engine writes
// it, without tag and digest, and whether the reference has one of the two.
func ImageRepositoryOf(text string) (repository string, whole bool, err error) {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return "", false, fmt.Errorf("%q is no name of an image: %w", text, problem.ErrInvalid)
	}
	return reference.FamiliarName(named), !reference.IsNameOnly(named), nil
}

// ImageRegistry returns the host of the registry that a reference speaks of.
func ImageRegistry(text string) (string, error) {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return "", fmt.Errorf("%q is no name of an image: %w", text, problem.ErrInvalid)
	}
	return reference.Domain(named), nil
}

// ImageMatches reports whether a name fits the pattern of a reference filter,
// as the engine matches it.
func ImageMatches(pattern, name string) (bool, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return false, fmt.Errorf("%q is no name of an image: %w", name, problem.ErrInvalid)
	}
	ok, err := reference.FamiliarMatch(pattern, named)
	if err == nil && !ok { // the engine tries the name without its tag too
		ok, err = reference.FamiliarMatch(pattern, reference.TrimNamed(named))
	}
	return ok, err
}
