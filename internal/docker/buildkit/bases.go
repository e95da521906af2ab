package buildkit

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	"google.golang.org/protobuf/proto"
)

// judged are the images for which the site's policy has let a build be.
type judged struct {
	mu    sync.Mutex
	begun bool
	bases []string
}

// judge has the site's policy judge the build by these images and those
// before.
func (r *build) judge(ctx context.Context, bases ...string) error {
	if r.Judge == nil {
		return nil
	}
	r.judged.mu.Lock()
	defer r.judged.mu.Unlock()
	all := r.judged.bases
	for _, b := range bases {
		if b = familiar(b); !slices.Contains(all, b) {
			all = append(slices.Clone(all), b)
		}
	}
	if r.judged.begun && len(all) == len(r.judged.bases) {
		return nil
	}
	site, err := r.Judge(ctx, all)
	if err != nil {
		return err
	}
	r.judged.begun, r.judged.bases = true, all
	r.mu.Lock()
	r.Group, r.NoNetwork = site.Group, site.NoNetwork
	r.mu.Unlock()
	for _, text := range site.Told {
		r.note(text)
	}
	return nil
}

// familiar returns a name as people write it, without the digest that BuildKit
// adds to one with a tag.
func familiar(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	if tagged, ok := named.(reference.Tagged); ok {
		if plain, err := reference.WithTag(reference.TrimNamed(named), tagged.Tag()); err == nil {
			named = plain
		}
	}
	return reference.FamiliarString(named)
}

// place returns where steps run now, and why they have no network.
func (r *build) place() (group, noNetwork string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Group, r.NoNetwork
}

// A lister is BuildKit as the Dockerfile's reader sees it that only wants to
// know which images the build needs.
type lister struct {
	*frontend

	mu    sync.Mutex
	names []string
}

// listBases returns the images that the build is made on or copies from, before
// any of them is looked at.
func (f *frontend) listBases(ctx context.Context, text []byte, options dockerfile2llb.ConvertOpt) ([]string, error) {
	l := &lister{frontend: f}
	var err error
	if options.Client, err = dockerui.NewClient(l); err != nil {
		return nil, err
	}
	options.MetaResolver = l
	definition, _, err := convert(ctx, text, options)
	if err != nil {
		return nil, err
	}
	return append(l.names, sourcesOf(definition)...), nil
}

// ResolveImageConfig notes an image, and shows one of which nothing is known.
func (l *lister) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names = append(l.names, ref)
	return ref, "", []byte(`{"rootfs":{"type":"layers","diff_ids":["sha256:` + strings.Repeat("0", 64) + `"]}}`), nil
}

// sourcesOf returns the images that a definition names.
func sourcesOf(d *pb.Definition) (images []string) {
	for _, data := range d.GetDef() {
		var op pb.Op
		if proto.Unmarshal(data, &op) != nil {
			continue
		}
		if kind, name, _ := strings.Cut(op.GetSource().GetIdentifier(), "://"); kind == "docker-image" {
			images = append(images, name)
		}
	}
	return images
}
