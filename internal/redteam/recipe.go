package redteam

import (
	"context"
	"fmt"
	"net/http"
	"slices"
)

// A Recipe is a build by BuildKit. The builder asks the client back for files and
// more, so that stock clients have to send it. Its texts may hold placeholders.
type Recipe struct {
	Dockerfile string
	Words      []string // further words of the command line
	// Buildx takes a client with buildx, which knows more words.
	Buildx bool
	// Bake is a file by which buildx bakes in place of a build.
	Bake string
	// Victim has the victim build, to see what an attack has left for them.
	Victim bool
}

// texts returns everything that may hold placeholders.
func (r Recipe) texts() []string {
	return append([]string{r.Dockerfile, r.Bake}, r.Words...)
}

// filled returns the recipe with facts in place of its placeholders.
func (r Recipe) filled(f facts) Recipe {
	r.Dockerfile, r.Bake = f.fill(r.Dockerfile), f.fill(r.Bake)
	r.Words = slices.Clone(r.Words)
	for i, w := range r.Words {
		r.Words[i] = f.fill(w)
	}
	return r
}

// bake has a recipe built. What came of it counts as an answer: 200 for what
// was built, 403 for what wasn't.
func (s *Scene) bake(ctx context.Context, r Recipe) (answer, error) {
	if err := s.makeCache(ctx); err != nil {
		return answer{}, err
	}
	who := s.Attacker
	if r.Victim {
		who = *s.Victim
	}
	said, built, err := s.Build(ctx, who, r.filled(s.facts))
	if err != nil {
		return answer{}, fmt.Errorf("build as %s: %w", who.Login, err)
	}
	end := said[max(0, len(said)-600):] // where a client says why
	a := answer{status: http.StatusForbidden, body: end, heard: said}
	if built {
		a.status = http.StatusOK
	}
	return a, nil
}

// makeCache has the victim build, once, what BuildKit keeps: files in a cache of
// theirs, and a step that had a secret of theirs.
func (s *Scene) makeCache(ctx context.Context) error {
	if s.Victim == nil || s.cached {
		return nil
	}
	s.cached = true
	hidden := s.secret("the cache of another's builds")
	said, built, err := s.Build(ctx, *s.Victim, Recipe{
		Dockerfile: heldStep + "RUN " + cacheMount + " echo " + hidden + " > /cache/secret\n", Words: []string{"--secret", "id={mark},src={victimhome}/secret"},
	}.filled(s.facts))
	if err == nil && !built {
		err = fmt.Errorf("it isn't built: %s", said)
	}
	if err != nil {
		return fmt.Errorf("a build of %s: %w", s.Victim.Login, err)
	}
	return nil
}

// The step of the victim's that had a file which is theirs, and how they name
// their cache.
const (
	heldStep   = "FROM {image}\nRUN --mount=type=secret,id={mark} cat /run/secrets/{mark} > /key; true\n"
	cacheMount = "--mount=type=cache,id={mark},target=/cache"
)
