package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

// LoadClient makes the image that people and the engine call name: busybox with
// the machine's first docker client and the libraries that it needs.
func (l *Lab) LoadClient(name string) {
	l.t.Helper()
	client := l.Clients()[0]
	folder := filepath.Join(filepath.Dir(l.Root), "client")
	l.must(os.MkdirAll(filepath.Join(folder, "root/bin"), 0o755))
	defer os.RemoveAll(folder) //nolint:errcheck // it goes with the lab
	l.must(exec.Command("cp", client, filepath.Join(folder, "root/bin/docker")).Run())
	libraries, _ := exec.Command("ldd", client).Output() // a static one has none
	for _, found := range regexp.MustCompile(`(?m)(/\S+) \(0x`).FindAllSubmatch(libraries, -1) {
		to := filepath.Join(folder, "root", string(found[1]))
		l.must(os.MkdirAll(filepath.Dir(to), 0o755))
		l.must(exec.Command("cp", "-L", string(found[1]), to).Run())
	}
	l.loadImage(name, folder, "FROM busybox\nCOPY root/ /\n")
}

// LoadProgram makes an image that runs one program, which needs no libraries.
func (l *Lab) LoadProgram(program, name string) {
	l.t.Helper()
	folder := filepath.Join(filepath.Dir(l.Root), "program")
	l.must(os.MkdirAll(folder, 0o755))
	defer os.RemoveAll(folder) //nolint:errcheck // it goes with the lab
	l.must(exec.Command("cp", program, filepath.Join(folder, "program")).Run())
	l.loadImage(name, folder, "FROM busybox\nCOPY program /bin/program\nCMD [\"/bin/program\"]\n")
}

// loadImage has the engine build an image, past ds01: everybody may use it.
func (l *Lab) loadImage(name, folder, recipe string) {
	l.t.Helper()
	l.must(os.WriteFile(filepath.Join(folder, "Dockerfile"), []byte(recipe), 0o644))
	build := exec.Command(l.Clients()[0], "-H", l.Engine.Host(), "build", "-q", "-t", name, folder)
	build.Env = append(os.Environ(), "DOCKER_BUILDKIT=0")
	if said, err := build.CombinedOutput(); err != nil {
		l.t.Fatalf("build %s: %v\n%s", name, err, said)
	}
}
