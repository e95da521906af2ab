package buildkit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	"google.golang.org/protobuf/proto"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/docker/buildkit"
	"ds01.dev/ds01/internal/problem"
)

func order(uid int) admission.KitBuild {
	return admission.KitBuild{
		UID: uid, Group: "/ds01/u" + string(rune('0'+uid)), Show: func(text string) string { return text },
		Image: func(_ context.Context, reference string, _ admission.KitLogin) (string, error) {
			if strings.Contains(reference, "secret") {
				return "", problem.Because(problem.ErrNotFound, "it isn't there")
			}
			return "ds01-1/app:1", nil
		},
	}
}

// policed returns the operations that the engine gets.
func policed(t *testing.T, o admission.KitBuild, s llb.State) ([]*pb.Op, *pb.Definition, error) {
	t.Helper()
	d, err := s.Marshal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out, err := buildkit.Police(t.Context(), o, fmt.Sprint("session of ", o.UID), d.ToPB())
	if err != nil {
		return nil, nil, err
	}
	var ops []*pb.Op
	for _, data := range out.Def {
		var op pb.Op
		if err := proto.Unmarshal(data, &op); err != nil {
			t.Fatal(err)
		}
		ops = append(ops, &op)
	}
	return ops, out, nil
}

func TestABuildIsItsPersons(t *testing.T) {
	s := llb.Image("app:1").Run(llb.Shlex("make all"), llb.AddMount("/cache", llb.Scratch(), llb.AsPersistentCacheDir("pip", llb.CacheMountShared)),
		llb.AddMount("/src", llb.Local("context", llb.SessionID("anothers"), llb.SharedKeyHint("hint"))), llb.WithCustomName("makes")).Root()
	ops, d, err := policed(t, order(1), s)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for i, op := range ops {
		for _, in := range op.Inputs {
			if !known[in.Digest] {
				t.Errorf("operation %d stands on %s, which isn't before it", i, in.Digest)
			}
		}
		known[digest.FromBytes(d.Def[i]).String()] = true
		switch o := op.Op.(type) {
		case *pb.Op_Source:
			if id := o.Source.Identifier; id != "docker-image://docker.io/ds01-1/app:1" && id != "local://ds01-1/context" {
				t.Errorf("a source is %s", id)
			}
			if id := o.Source.Attrs[pb.AttrLocalSessionID]; id != "session of 1" && strings.HasPrefix(o.Source.Identifier, "local") {
				t.Errorf("a source comes from the session %q", id)
			}
		case *pb.Op_Exec:
			if want := []string{"", "ds01-step", "/ds01/u1", "make", "all"}; !slices.Equal(o.Exec.Meta.Args, want) {
				t.Errorf("a step runs %q", o.Exec.Meta.Args)
			}
			if id := o.Exec.Mounts[1].CacheOpt.ID; id != "ds01-1/pip" {
				t.Errorf("a cache is %s", id)
			}
			if name := d.Metadata[digest.FromBytes(d.Def[i]).String()].GetDescription()["llb.customname"]; name != "makes" {
				t.Errorf("the step is called %q", name)
			}
		}
	}
}

func TestTheSameStepOfTwoPeopleIsTwo(t *testing.T) {
	s := llb.Scratch().Run(llb.Shlex("make all")).Root()
	_, one, err := policed(t, order(1), s)
	if err != nil {
		t.Fatal(err)
	}
	_, two, err := policed(t, order(2), s)
	if err != nil {
		t.Fatal(err)
	}
	if digest.FromBytes(one.Def[0]) == digest.FromBytes(two.Def[0]) {
		t.Error("BuildKit takes them for one")
	}
}

func TestTheSameFilesOfTwoPeopleAreTwo(t *testing.T) {
	s := llb.Local("context", llb.LocalUniqueID("same"), llb.SharedKeyHint("hint"))
	_, one, err := policed(t, order(1), s)
	if err != nil {
		t.Fatal(err)
	}
	_, two, err := policed(t, order(2), s)
	if err != nil {
		t.Fatal(err)
	}
	if digest.FromBytes(one.Def[0]) == digest.FromBytes(two.Def[0]) {
		t.Error("BuildKit takes them for one")
	}
}

func TestStepsWithoutANetworkHaveNone(t *testing.T) {
	s := llb.Scratch().Run(llb.Shlex("true")).Root()
	for why, want := range map[string]pb.NetMode{"": pb.NetMode_UNSET, "there is none": pb.NetMode_NONE} {
		o := order(1)
		o.NoNetwork = why
		ops, _, err := policed(t, o, s)
		if err != nil {
			t.Fatal(err)
		}
		if got := ops[0].GetExec().Network; got != want {
			t.Errorf("%q: the network is %s", why, got)
		}
	}
}

func TestWhatReachesFurtherIsRefused(t *testing.T) {
	step := func(o ...llb.RunOption) llb.State { return llb.Scratch().Run(append(o, llb.Shlex("true"))...).Root() }
	for name, c := range map[string]struct {
		state llb.State
		kind  error
	}{
		"the host's network":           {step(llb.Network(llb.NetModeHost)), problem.ErrDenied},
		"root on the host":             {step(llb.Security(llb.SecurityModeInsecure)), problem.ErrDenied},
		"a device":                     {step(llb.AddCDIDevice(llb.CDIDeviceName("nvidia.com/gpu=0"))), problem.ErrDenied},
		"limits of files":              {step(llb.AddUlimit("nofile", 1, 1)), problem.ErrDenied},
		"a group of one's choice":      {step(llb.WithCgroupParent("/")), problem.ErrDenied},
		"a part of a cache":            {step(llb.AddMount("/x", llb.Scratch(), llb.SourcePath("a"), llb.AsPersistentCacheDir("x", llb.CacheMountShared))), problem.ErrDenied},
		"another's image":              {llb.Image("secret"), problem.ErrNotFound},
		"another's image in a mount":   {step(llb.AddMount("/x", llb.Image("secret"))), problem.ErrNotFound},
		"an address":                   {llb.HTTP("http://127.0.0.1/x"), problem.ErrDenied},
		"a repository":                 {llb.Git("127.0.0.1/x.git", "main"), problem.ErrDenied},
		"a layout of images":           {llb.OCILayout("x@sha256:" + strings.Repeat("a", 64)), problem.ErrDenied},
		"layers laid over one another": {llb.Merge([]llb.State{step(), llb.Scratch().File(llb.Mkdir("/x", 0o755))}), problem.ErrDenied},
		"a file of an address":         {llb.Scratch().File(llb.Copy(llb.HTTP("https://x/y"), "y", "/y")), problem.ErrDenied},
	} {
		if _, _, err := policed(t, order(1), c.state); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsNoBuildIsRefused(t *testing.T) {
	op := func(o *pb.Op) []byte {
		data, err := proto.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for name, d := range map[string]*pb.Definition{
		"none":                         nil,
		"bytes":                        {Def: [][]byte{{0xff}}},
		"an operation on nothing":      {Def: [][]byte{op(&pb.Op{Inputs: []*pb.Input{{Digest: "sha256:x"}}})}},
		"no operation, before another": {Def: [][]byte{op(&pb.Op{}), op(&pb.Op{Platform: &pb.Platform{OS: "linux"}})}},
		"a build within":               {Def: [][]byte{op(&pb.Op{Op: &pb.Op_Build{Build: &pb.BuildOp{}}})}},
		"a cache mount without a name": {Def: [][]byte{op(&pb.Op{Op: &pb.Op_Exec{Exec: &pb.ExecOp{Meta: &pb.Meta{}, Mounts: []*pb.Mount{{MountType: pb.MountType_CACHE}}}}})}},
		"a mount of another kind":      {Def: [][]byte{op(&pb.Op{Op: &pb.Op_Exec{Exec: &pb.ExecOp{Meta: &pb.Meta{}, Mounts: []*pb.Mount{{MountType: 9}}}}})}},
		"a step without a command":     {Def: [][]byte{op(&pb.Op{Op: &pb.Op_Exec{Exec: &pb.ExecOp{}}})}},
	} {
		if _, err := buildkit.Police(t.Context(), order(1), "", d); !errors.Is(err, problem.ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
