package install_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestAnEngineRemapsUserNamespaces: the images of two people move along, and
// come back with what was made meanwhile; ds01 goes, and takes the switch along.
func TestAnEngineRemapsUserNamespaces(t *testing.T) {
	h := newSite(t).newHost(t, "remap")
	h.sh("useradd --create-home --shell /bin/bash alice && gpasswd --add alice docker")
	etc := h.etc()
	if out, err := h.try("/root/ds01 remap --yes"); err == nil || !strings.Contains(out, "ds01 is not installed here") {
		t.Errorf("without ds01: %v, %s", err, out)
	}
	h.sh("/root/ds01 install --yes --move-docker-group")
	installed := h.etc()
	for _, who := range []string{"bob", "alice"} {
		h.sh(`su ` + who + ` -c 'docker run --name made busybox sh -c "echo ` + who + ` >/whose" && docker commit made web && docker tag web web:v1 && docker rm made'`)
	}
	h.sh("tar -C /etc -c hostname | docker -H unix://" + engineSocket + " import -") // one without a name
	h.sh("su bob -c 'docker run --rm -v data:/data busybox sh -c \"echo 1 >/data/one\"'")

	out, err := h.try("ds01 remap --yes")
	if err == nil {
		t.Fatal("containers are in the way")
	}
	lab.Contains(t, out, "old of nobody known, trained of bob", "these volumes have something in them: data._.")
	h.sh("docker -H unix://" + engineSocket + " rm -f old trained")

	plan := h.sh("ds01 remap --dry-run --leave-volumes")
	lab.Contains(t, plan, `+    "userns-remap": "default"`, "+dockremap:2147483648:2147000000", "make the user dockremap", "copy 4 images", "web:v1", ", without a name", "Volumes stay behind in /var/lib/docker")
	lab.Contains(t, h.sh("ds01 remap --dry-run --leave-volumes --json"), `"do": "copy-images"`, `"done": false`)
	if diff := cmp.Diff(installed, h.etc()); diff != "" {
		t.Errorf("to look changes /etc:\n%s", diff)
	}
	was := h.images()

	for _, at := range []string{"make the user", "systemctl stop docker.service", "see that the engine answers", "images 1–4 of 4"} {
		h.killed(at, "ds01 remap --yes --leave-volumes")
	}
	h.reboot() // ds01 comes up before an engine that has no image yet
	said := h.sh("ds01 remap --yes --leave-volumes")
	lab.Contains(t, said, "The engine remaps user namespaces. 'ds01 remap --undo' takes it back.")
	if diff := cmp.Diff(was, h.images()); diff != "" {
		t.Errorf("images aren't what they were (-before +after):\n%s", diff)
	}
	h.serves("2147483648")
	lab.Contains(t, h.sh("ds01 doctor"), "Nothing fails.", "The engine remaps user namespaces")
	lab.Contains(t, h.sh("ds01 remap"), "The engine remaps user namespaces already.")
	h.reboot()
	h.serves("2147483648")
	h.noTraces()

	if out, err := h.try("su bob -c 'docker run -d --name mine busybox sleep 1000' && ds01 uninstall --yes"); err == nil || !strings.Contains(out, "would lose containers from sight: mine._.") {
		t.Errorf("it is uninstalled under a container: %v, %s", err, out)
	}
	h.sh("su bob -c 'docker commit mine later && docker rm -f mine'")
	was = h.images()
	h.killed("images 1–1 of 1", "ds01 remap --undo --yes --leave-volumes")
	lab.Contains(t, h.sh("ds01 remap --undo --yes --leave-volumes"), "The engine doesn't remap user namespaces any more.")
	if diff := cmp.Diff(was, h.images()); diff != "" {
		t.Errorf("images don't come back (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(installed, h.etc()); diff != "" {
		t.Errorf("switched back, /etc is not as before (-before +after):\n%s", diff)
	}
	h.serves("0")
	if got := h.sh("su bob -c 'docker run --rm -v data:/data busybox cat /data/one'"); got != "1" {
		t.Errorf("in the volume is %q", got)
	}

	h.sh("ds01 remap --yes --leave-volumes")
	h.serves("2147483648")
	said = strings.Join(strings.Fields(h.sh("ds01 uninstall --yes")), " ")
	lab.Contains(t, said, "Images made since 'ds01 remap' stay in /var/lib/docker/2147483648.2147483648,", "Docker is as it was.")
	if diff := cmp.Diff(etc, h.etc()); diff != "" {
		t.Errorf("uninstalled, /etc is not as before (-before +after):\n%s", diff)
	}
	h.sh("test ! -e /var/lib/ds01/remap -a ! -e /var/lib/ds01/install")
	if got := h.sh("docker run --rm busybox cat /proc/self/uid_map"); strings.Fields(got)[1] != "0" {
		t.Errorf("the engine remaps yet: %s", got)
	}
	h.noTraces()
	h.sh("/root/ds01 install --yes --move-docker-group")
	h.serves("0")
	if got := h.sh("su bob -c 'docker run --rm -v data:/data busybox cat /data/one'"); got != "1" {
		t.Errorf("installed again, in the volume is %q", got)
	}
}

// images lists what the engine has, and what each of two people see of it.
func (h *host) images() []string {
	h.t.Helper()
	list := `images --no-trunc --format "{{.ID}} {{.Repository}}:{{.Tag}}" | sort`
	return strings.Split(h.sh("docker -H unix://"+engineSocket+" "+list+"; for who in bob alice; do echo $who; su $who -c 'docker "+list+"'; done"), "\n")
}

// serves sees that two people have their images and a GPU in a container,
// whose root is somebody on the host.
func (h *host) serves(root string) {
	h.t.Helper()
	for _, who := range []string{"bob", "alice"} {
		got := strings.Fields(h.sh("su " + who + " -c 'docker run --rm --gpus 1 web:v1 cat /whose /proc/self/uid_map'"))
		if len(got) != 4 || got[0] != who || got[2] != root {
			h.t.Errorf("%s has %q", who, got)
		}
	}
}

// killed runs a command, and kills it where it says it begins something.
func (h *host) killed(at, command string) {
	h.t.Helper()
	h.sh("/root/tests/killed \"" + at + "\" " + command)
}

// noTraces sees that the second engine is gone, with what it has on the host.
func (h *host) noTraces() {
	h.t.Helper()
	if got := h.sh("pgrep -c dockerd; ls -d /run/ds01-remap 2>/dev/null; true"); got != "1" {
		h.t.Errorf("engines that run, and what one left: %q", got)
	}
}
