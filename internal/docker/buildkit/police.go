package buildkit

import (
	"context"
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	"google.golang.org/protobuf/proto"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/problem"
)

// police goes through a build operation by operation and returns the one that
// the engine gets. What isn't known here is refused.
func (r *build) police(ctx context.Context, d *pb.Definition) (*pb.Definition, error) {
	if d == nil {
		return nil, unknown("an empty build")
	}
	out := &pb.Definition{Metadata: map[string]*pb.OpMetadata{}}
	now := map[string]string{} // what an operation is called, by what it was
	for i, data := range d.Def {
		var op pb.Op
		if err := proto.Unmarshal(data, &op); err != nil {
			return nil, unknown("an operation that can't be read")
		}
		for _, in := range op.Inputs {
			known, ok := now[in.Digest]
			if !ok {
				return nil, unknown("an operation on nothing")
			}
			in.Digest = known
		}
		if err := r.operation(ctx, &op, i == len(d.Def)-1); err != nil {
			return nil, err
		}
		changed, err := proto.MarshalOptions{Deterministic: true}.Marshal(&op)
		if err != nil {
			return nil, fmt.Errorf("write the build: %w", err)
		}
		was, is := digest.FromBytes(data).String(), digest.FromBytes(changed).String()
		now[was] = is
		out.Def = append(out.Def, changed)
		if m := d.Metadata[was]; m != nil {
			out.Metadata[is] = m
		}
	}
	out.Source = sources(d.Source, now)
	return out, nil
}

// sources returns where in the Dockerfile the operations stand.
func sources(s *pb.Source, now map[string]string) *pb.Source {
	if s == nil {
		return nil
	}
	out := &pb.Source{Locations: map[string]*pb.Locations{}}
	for was, l := range s.Locations {
		out.Locations[now[was]] = l
	}
	for _, i := range s.Infos {
		out.Infos = append(out.Infos, &pb.SourceInfo{Filename: i.Filename, Data: i.Data, Language: i.Language})
	}
	return out
}

func unknown(what string) error {
	return &problem.Error{
		What: notBuilt, Why: problem.Because(problem.ErrDenied, what+" is nothing that ds01 knows"),
		Next: "Write it in another way; docs/users/building.md says what builds.",
	}
}

func (r *build) operation(ctx context.Context, op *pb.Op, last bool) error {
	switch o := op.Op.(type) {
	case *pb.Op_Source:
		return r.source(ctx, o.Source)
	case *pb.Op_Exec:
		return r.exec(o.Exec)
	case *pb.Op_File:
		return nil // it reads and writes what the build has already
	case nil:
		if last {
			return nil // it names the result
		}
	}
	return unknown(fmt.Sprintf("an operation of kind %T", op.Op))
}

// source maps an image's name, and keeps local files to this build's session.
func (r *build) source(ctx context.Context, s *pb.SourceOp) error {
	kind, name, _ := strings.Cut(s.Identifier, "://")
	switch kind {
	case "docker-image":
		if err := r.judge(ctx, name); err != nil {
			return err
		}
		engineName, err := r.Image(ctx, name, r.login)
		if err != nil {
			return err
		}
		named, err := reference.ParseNormalizedNamed(engineName)
		if err != nil {
			return fmt.Errorf("name the image: %w", err)
		}
		s.Identifier = "docker-image://" + reference.TagNameOnly(named).String()
		s.Attrs = map[string]string{pb.AttrImageResolveMode: pb.AttrImageResolveModePreferLocal}
		return nil
	case "local":
		// Two builds at one time that ask for files in the same words are one to
		// BuildKit, which then takes them from either client.
		if s.Attrs == nil {
			s.Attrs = map[string]string{}
		}
		s.Identifier = "local://" + localOf(r.UID) + name // whose it is, in the cache
		s.Attrs[pb.AttrLocalSessionID], s.Attrs[pb.AttrLocalUniqueID] = r.session, r.session
		return nil
	}
	return admission.NoSource(kind)
}

// exec puts a step into the person's group and keeps what it may have to what
// is theirs.
func (r *build) exec(e *pb.ExecOp) error {
	if len(e.GetMeta().GetArgs()) == 0 {
		return unknown("a step without a command")
	}
	asked := admission.KitStep{
		HostNetwork: e.Network == pb.NetMode_HOST, Insecure: e.Security != pb.SecurityMode_SANDBOX,
		Devices: len(e.CdiDevices) > 0, Ulimits: len(e.Meta.Ulimit) > 0, Group: e.Meta.CgroupParent,
	}
	for _, m := range e.Mounts {
		if admission.KitNamesOwner(m.Dest) {
			return unknown("a mount at " + m.Dest)
		}
		asked.PartOfCache = asked.PartOfCache || m.MountType == pb.MountType_CACHE && strings.Trim(m.Selector, "/") != ""
		switch m.MountType {
		case pb.MountType_BIND, pb.MountType_SECRET, pb.MountType_SSH, pb.MountType_TMPFS:
		case pb.MountType_CACHE:
			if m.CacheOpt == nil {
				return unknown("a cache mount without a name")
			}
			m.CacheOpt.ID = fmt.Sprintf("ds01-%d/%s", r.UID, m.CacheOpt.ID)
		default:
			return unknown("a mount of kind " + m.MountType.String())
		}
	}
	if err := asked.Check(); err != nil {
		return err
	}
	group, noNetwork := r.place()
	if e.Network == pb.NetMode_UNSET && noNetwork != "" {
		e.Network = pb.NetMode_NONE
		r.note("steps have no network: " + noNetwork)
	}
	e.Meta.Args = admission.KitStepIn(group, e.Meta.Args)
	return nil
}
