package admission_test

import (
	"archive/tar"
	"bytes"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/volume"
)

func twoMounts() []container.Mount {
	return []container.Mount{{Source: "/home/alice/work", Target: "/workspace"}, {Source: "/home/alice/x", Target: "/a/b"}}
}

func TestPathsInMountsAreNotCopied(t *testing.T) {
	for _, name := range []string{"/workspace", "workspace", "/workspace/", "/workspace/x/y", "//workspace", "/x/../workspace", "/../workspace/.", "a/b", "/a/b/c"} {
		_, err := admission.ReviewArchivePath(name, twoMounts(), nil)
		wantProblem(t, err, problem.ErrDenied, "is your directory /home/alice/")
	}
	for _, name := range []string{"/", "/workspaces", "/a", "/a/bc", "/x/workspace", "etc/passwd", ".", "/a/../../etc"} {
		if in, err := admission.ReviewArchivePath(name, twoMounts(), nil); err != nil || in.Target != "" {
			t.Errorf("%s: %v, %v", name, in, err)
		}
	}
	_, err := admission.ReviewArchivePath("", nil, nil)
	wantProblem(t, err, problem.ErrInvalid, "no path")
	if _, err := admission.ReviewArchivePath("/workspace/sub/f", twoMounts(), nil); !strings.Contains(problem.OneLine(err), "/home/alice/work/sub/f") {
		t.Errorf("%v doesn't say where it is on the host", err)
	}
}

func twoVolumes() []volume.Mounted {
	return []volume.Mounted{{Name: "data", Target: "/data"}, {Name: "modules", Target: "/workspace/modules"}, {Name: "inner", Target: "/data/a/inner"}}
}

func TestWhichVolumeAPathLiesIn(t *testing.T) {
	for name, want := range map[string]string{
		"/data": "data", "data/x/": "data", "/x/../data/.": "data", "/data/a": "data", "/data/a/inner": "inner", "/data/a/inner/x": "inner",
		"/workspace/modules/x": "modules", "/": "", "/dat": "", "/data2": "", "/x/data": "",
	} {
		if in, err := admission.ReviewArchivePath(name, twoMounts(), twoVolumes()); err != nil || in.Name != want {
			t.Errorf("%s lies in %q, %v", name, in.Name, err)
		}
	}
	inVolume := []container.Mount{{Source: "/home/alice/w", Target: "/data/w"}}
	for _, name := range []string{"/workspace", "/workspace/x", "/a/b"} {
		_, err := admission.ReviewArchivePath(name, twoMounts(), twoVolumes())
		wantProblem(t, err, problem.ErrDenied, "is your directory")
	}
	_, err := admission.ReviewArchivePath("/data/w/x", inVolume, twoVolumes())
	wantProblem(t, err, problem.ErrDenied, "is your directory")
}

func TestAnEntryStaysInTheVolumeOfItsArchive(t *testing.T) {
	for _, c := range []struct{ directory, name, why string }{
		{"/", "data", "volume at /data"},
		{"/", "./data/x", "volume at /data"},
		{"/data", "a/inner/x", "volume at /data/a/inner"},
		{"/workspace/modules/..", "modules/x", "volume at /workspace/modules"},
		{"/", "workspace/x", "is your directory"},
		{"/data", "x", ""},
		{"/data/a", "x/inner", ""},
		{"/data/a/inner", "x", ""},
		{"/", "dat", ""},
	} {
		_, err := admission.ReviewEntry(&tar.Header{Typeflag: tar.TypeReg, Name: c.name}, c.directory, twoMounts(), twoVolumes())
		if c.why != "" {
			wantProblem(t, err, problem.ErrDenied, c.why)
		} else if err != nil {
			t.Errorf("%s in %s: %v", c.name, c.directory, err)
		}
	}
}

func TestAnEntryIsWrittenAnew(t *testing.T) {
	when := time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct{ sent, want tar.Header }{
		"a file": {
			tar.Header{Typeflag: tar.TypeReg, Name: "dir/file", Mode: 0o104755, Uid: 5, Gid: 6, Uname: "x", Size: 7, ModTime: when},
			tar.Header{Typeflag: tar.TypeReg, Name: "./dir/file", Mode: 0o4755, Uid: 5, Gid: 6, Size: 7, ModTime: when},
		},
		"a file of an old archive":  {tar.Header{Name: "f", Size: 1}, tar.Header{Typeflag: tar.TypeReg, Name: "./f", Size: 1}},
		"a name from the root":      {tar.Header{Typeflag: tar.TypeReg, Name: "/etc/x"}, tar.Header{Typeflag: tar.TypeReg, Name: "./etc/x"}},
		"a name like a magic":       {tar.Header{Typeflag: tar.TypeReg, Name: "\xfd7zXZ"}, tar.Header{Typeflag: tar.TypeReg, Name: "./\xfd7zXZ"}},
		"a directory":               {tar.Header{Typeflag: tar.TypeDir, Name: "dir/"}, tar.Header{Typeflag: tar.TypeDir, Name: "./dir/"}},
		"the directory itself":      {tar.Header{Typeflag: tar.TypeDir, Name: "./"}, tar.Header{Typeflag: tar.TypeDir, Name: "./"}},
		"a link that climbs inside": {tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "../lib/x"}, tar.Header{Typeflag: tar.TypeSymlink, Name: "./l", Linkname: "../lib/x"}},
		"a hard link":               {tar.Header{Typeflag: tar.TypeLink, Name: "l", Linkname: "dir/file"}, tar.Header{Typeflag: tar.TypeLink, Name: "./l", Linkname: "./dir/file"}},
		"a pipe":                    {tar.Header{Typeflag: tar.TypeFifo, Name: "p"}, tar.Header{Typeflag: tar.TypeFifo, Name: "./p"}},
		"attributes": {
			tar.Header{Typeflag: tar.TypeReg, Name: "f", PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b", "SCHILY.xattr.security.capability": "\x01", "comment": "x", "path": "f"}},
			tar.Header{Typeflag: tar.TypeReg, Name: "./f", PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b", "SCHILY.xattr.security.capability": "\x01"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := admission.ReviewEntry(&c.sent, "/root", twoMounts(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEntriesThatReachBeyondAreRefused(t *testing.T) {
	for says, h := range map[string]tar.Header{
		"\"c\" is a device":           {Typeflag: tar.TypeChar, Name: "c"},
		"\"b\" is a device":           {Typeflag: tar.TypeBlock, Name: "b"},
		"\"../x\" climbs":             {Typeflag: tar.TypeReg, Name: "../x"},
		"\"a/../../x\" climbs":        {Typeflag: tar.TypeDir, Name: "a/../../x"},
		"\"../y\" climbs":             {Typeflag: tar.TypeLink, Name: "x", Linkname: "../y"},
		"of the kind":                 {Typeflag: tar.TypeCont, Name: "x"},
		"trusted.overlay.opaque":      {Typeflag: tar.TypeReg, Name: "x", PAXRecords: map[string]string{"SCHILY.xattr.trusted.overlay.opaque": "y"}},
		"system.posix_acl_access":     {Typeflag: tar.TypeReg, Name: "x", PAXRecords: map[string]string{"SCHILY.xattr.system.posix_acl_access": "y"}},
		"/workspace is your":          {Typeflag: tar.TypeReg, Name: "workspace/x"},
		"/a/b is your directory":      {Typeflag: tar.TypeSymlink, Name: "a/b", Linkname: "/tmp"},
		"/home/alice/x on this host,": {Typeflag: tar.TypeDir, Name: "/a/./b/"},
	} {
		_, err := admission.ReviewEntry(&h, "/", twoMounts(), nil)
		wantProblem(t, err, problem.ErrDenied, says)
	}
}

// FuzzReviewEntry: whatever passes stays below the directory, is no device,
// and makes an archive that begins like no compressed one.
func FuzzReviewEntry(f *testing.F) {
	f.Add("dir/file", "link", "/root", byte(tar.TypeReg))
	f.Add("\xfd7zXZ\x00", "../x", "/", byte(tar.TypeLink))
	f.Add("BZh", "", "workspace", byte(tar.TypeDir))
	f.Fuzz(func(t *testing.T, name, link, directory string, kind byte) {
		h, err := admission.ReviewEntry(&tar.Header{Typeflag: kind, Name: name, Linkname: link}, directory, twoMounts(), nil)
		if err != nil {
			return
		}
		if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
			t.Fatal("a device passes")
		}
		if !strings.HasPrefix(h.Name, ".") || strings.Contains("/"+h.Name+"/", "/../") || h.Typeflag == tar.TypeLink && strings.Contains("/"+h.Linkname+"/", "/../") {
			t.Fatalf("%q, %q climbs", h.Name, h.Linkname)
		}
		for _, m := range twoMounts() {
			if at := path.Join("/", directory, h.Name); at == m.Target || strings.HasPrefix(at, m.Target+"/") {
				t.Fatalf("%q goes to %s", h.Name, m.Target)
			}
		}
		var b bytes.Buffer
		if tar.NewWriter(&b).WriteHeader(h) != nil {
			return // it is refused then
		}
		for _, magic := range []string{"\x1f\x8b", "BZh", "\xfd7zXZ", "\x28\xb5\x2f\xfd"} {
			if strings.HasPrefix(b.String(), magic) {
				t.Fatalf("%q makes an archive that begins with %q", name, magic)
			}
		}
	})
}
