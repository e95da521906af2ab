package install_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/e2e/lab"
)

const (
	engineSocket = "/run/ds01/engine.sock"
	usualSocket  = "/run/docker.sock"
)

// TestAHostGetsDs01AndIsRidOfItAgain is an administrator's afternoon: look,
// install, work, reboot, uninstall.
func TestAHostGetsDs01AndIsRidOfItAgain(t *testing.T) {
	h := newSite(t).newHost(t, "afternoon")
	etc, ran := h.etc(), h.running(usualSocket)

	plan := h.sh("/root/ds01 install --dry-run")
	lab.Contains(t, plan, `+    "live-restore": true`, ` "debug": false`, "systemctl stop docker.service", "In the group docker: bob", "Containers from before: old, trained")
	if diff := cmp.Diff(etc, h.etc()); diff != "" {
		t.Errorf("to look changes /etc:\n%s", diff)
	}
	lab.Contains(t, h.sh("/root/ds01 install --dry-run --json"), `"do": "put"`, `"notes": [`)
	if out, err := h.try("install -m 755 /root/ds01 /home/bob/ds01; su bob -c '/home/bob/ds01 install --yes'"); err == nil || !strings.Contains(out, "only root changes it") {
		t.Errorf("bob installs it: %v, %s", err, out)
	}

	said := h.sh("/root/ds01 install --yes --move-docker-group")
	lab.Contains(t, said, "see that bob gets a container through ds01", "ds01 is installed.", "ds01 container adopt trained bob")
	h.works(ran)
	lab.Contains(t, h.sh("/root/ds01 install --dry-run"), "1. see that the engine lets containers run on")

	h.reboot()
	// unless-stopped, which is the engine's to follow for what ds01 didn't make
	if got := h.sh("docker -H unix://" + engineSocket + " inspect -f '{{.State.Running}}' old"); got != "true" {
		t.Errorf("after a reboot old runs: %s", got)
	}
	h.works("")

	h.sh("docker -H unix://" + engineSocket + " start trained")
	ran = h.running(engineSocket)
	if out, err := h.try("echo >>/etc/docker/daemon.json; ds01 uninstall --yes"); err == nil || !strings.Contains(out, "/etc/docker/daemon.json was changed since") {
		t.Errorf("a changed file isn't asked about: %v, %s", err, tail(out))
	}
	lab.Contains(t, h.sh("ds01 uninstall --yes --changed restore"), "Docker is as it was.")
	if got := h.sh("docker network ls -q | wc -l"); got != "3" {
		t.Errorf("networks stay: %s", h.sh("docker network ls"))
	}
	if diff := cmp.Diff(etc, h.etc()); diff != "" {
		t.Errorf("uninstalled, /etc is not as before (-before +after):\n%s", diff)
	}
	if got := h.running(usualSocket); got != ran {
		t.Errorf("containers ran as %s, now as %s", ran, got)
	}
	if out := h.sh("su bob -c 'docker run --rm busybox id -u'"); !strings.HasSuffix(out, "0") {
		t.Errorf("docker doesn't work for bob as before: %s", out)
	}
	h.sh("test ! -e /usr/bin/ds01 -a ! -e /usr/bin/container-list -a -e /var/lib/ds01/ds01.db -a ! -e /var/lib/ds01/install")
	h.reboot()
	h.sh("su bob -c 'docker run --rm busybox true'")

	// a ds01 that has forgotten everything finds nothing in its way
	h.sh("/root/ds01 install --yes --move-docker-group && ds01 uninstall --yes --purge && test ! -e /var/lib/ds01 && /root/ds01 install --yes --move-docker-group")
	h.works("")
}

// works sees that ds01 stands before the engine, for everybody.
func (h *host) works(ran string) {
	t := h.t
	t.Helper()
	if got := h.running(engineSocket); ran != "" && got != ran {
		t.Errorf("containers ran as %s, now as %s", ran, got)
	}
	lab.Contains(t, h.sh("ds01 doctor"), "Nothing fails.", "ok    live restore", "ok    steps of builds", "ok    docker group")
	if out := h.sh("su bob -c 'docker run --rm --gpus 1 busybox id -u; docker ps -a --format {{.Names}}'"); out != "0" {
		t.Errorf("bob ran a container, and sees: %s", out)
	}
	if out, err := h.try("su bob -c 'docker -H unix://" + engineSocket + " ps'"); err == nil || !strings.Contains(out, "permission denied") {
		t.Errorf("bob at the engine's socket: %v, %s", err, out)
	}
	if out, err := h.try("su nobody -s /bin/sh -c 'docker ps'"); err == nil || !strings.Contains(out, "ds01: ") {
		t.Errorf("nobody at the gateway: %v, %s", err, out)
	}
	if out := h.sh("stat -c '%a %U' " + engineSocket); out != "600 root" {
		t.Errorf("the engine's socket is %s", out)
	}
}

// TestAKilledInstallationGoesOnOrIsTakenBack kills it where a host is between
// two states; internal/installer kills it at every step, with stand-ins.
func TestAKilledInstallationGoesOnOrIsTakenBack(t *testing.T) {
	h := newSite(t).newHost(t, "killed")
	etc, ran := h.etc(), h.running(usualSocket)
	for _, at := range []string{
		"make the group gpu-users", "systemctl reload docker.service", "systemctl daemon-reload", "systemctl stop docker.service",
		"systemctl start docker.socket", "systemctl start docker.service", "systemctl start ds01.service", "see that 'ds01 doctor'",
	} {
		t.Run(at, func(t *testing.T) {
			h := &host{t, h.site, h.name}
			h.sh("/root/tests/killed \"" + at + "\" /root/ds01 install --yes --move-docker-group")
			h.sh("/root/ds01 uninstall --yes")
			if diff := cmp.Diff(etc, h.etc()); diff != "" {
				t.Errorf("taken back, /etc is not as before (-before +after):\n%s", diff)
			}
			if got := h.running(usualSocket); got != ran {
				t.Errorf("containers ran as %s, now as %s", ran, got)
			}
			h.sh("/root/tests/killed \"" + at + "\" /root/ds01 install --yes --move-docker-group")
			h.sh("/root/ds01 install --yes --move-docker-group")
			h.works(ran)
			h.sh("/root/tests/killed 'systemctl start docker.socket' /root/ds01 uninstall --yes")
			h.sh("/root/ds01 uninstall --yes")
			if diff := cmp.Diff(etc, h.etc()); diff != "" {
				t.Errorf("gone on and uninstalled, /etc is not as before (-before +after):\n%s", diff)
			}
			if got := h.running(usualSocket); got != ran {
				t.Errorf("containers ran as %s, now as %s", ran, got)
			}
		})
	}
}

// TestAHostThatCannotHaveIt is as it was afterwards.
func TestAHostThatCannotHaveIt(t *testing.T) {
	h := newSite(t).newHost(t, "unfit")
	ran := h.running(usualSocket)
	for _, c := range []struct{ name, make, mend, says string }{
		// first: once ds01 has had the engine keep containers, it joins no swarm until it restarts
		{"an engine in a swarm", "docker swarm init --advertise-addr 127.0.0.1 >/dev/null", "docker swarm leave --force >/dev/null", "part of a swarm"},
		{"limits that can't be read", "printf 'defaults: {nonsense: 1}\\n' >/etc/ds01/resource-limits.yaml", "rm /etc/ds01/resource-limits.yaml", "everything is as it was before"},
		{"a driver that isn't there", "printf 'version: 1\\n' >/etc/ds01/ds01.yaml", "printf 'version: 1\\ngpu: {provider: sim, sim: {gpus: [a100-80gb]}}\\n' >/etc/ds01/ds01.yaml", "everything is as it was before"},
		{
			"an engine that listens elsewhere",
			"mkdir -p /etc/systemd/system/docker.socket.d; printf '[Socket]\\nListenStream=/run/second.sock\\n' >/etc/systemd/system/docker.socket.d/mine.conf; systemctl daemon-reload",
			"rm -r /etc/systemd/system/docker.socket.d; systemctl daemon-reload", "docker.socket listens at /run/second.sock",
		},
		{
			"a unit that stops with the engine",
			"printf '[Unit]\\nBindsTo=docker.service\\nAfter=docker.service\\n[Service]\\nExecStart=/bin/sleep 1000\\n' >/etc/systemd/system/web.service; systemctl daemon-reload; systemctl start web",
			"systemctl stop web; rm /etc/systemd/system/web.service; systemctl daemon-reload", "with the engine these units stop: web.service",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &host{t, h.site, h.name}
			h.sh(c.make)
			etc := h.etc()
			if out, err := h.try("/root/ds01 install --yes"); err == nil || !strings.Contains(out, c.says) {
				t.Errorf("%v, %s", err, tail(out))
			}
			if diff := cmp.Diff(etc, h.etc()); diff != "" {
				t.Errorf("/etc is not as before (-before +after):\n%s", diff)
			}
			if got := h.running(usualSocket); got != ran {
				t.Errorf("containers ran as %s, now as %s", ran, got)
			}
			h.sh(c.mend)
		})
	}
}

// TestTheDeploymentOfShellScriptsIsTakenOver: its containers run on, in its
// slices and by its default runtime, and it is named where it would get in the
// way.
func TestTheDeploymentOfShellScriptsIsTakenOver(t *testing.T) {
	h := newSite(t).newHost(t, "scripts")
	h.sh("/root/tests/scripts")
	etc, ran := h.etc(), h.running(usualSocket)

	said := h.sh("/root/ds01 install --yes --move-docker-group")
	lab.Contains(t, said, `-    "default-runtime": "nvidia",`, "/usr/local/bin/docker", "/etc/cron.d/ds01-maintenance", "/etc/systemd/system/ds01.slice", "ds01 container adopt old bob")
	lab.Lacks(t, said, "write /etc/systemd/system/ds01.slice")
	h.works(ran)
	if got := h.sh("su bob -c 'docker run -d --name mine busybox sleep 1000 >/dev/null'; docker -H unix://" + engineSocket + " inspect -f '{{.HostConfig.Runtime}} {{.HostConfig.CgroupParent}}' mine._.$(id -u bob)"); !strings.HasPrefix(got, "runc ds01-u") {
		t.Errorf("bob's container is run as %s", got)
	}
	h.sh("su bob -c 'docker rm -f mine'; ds01 container adopt trained bob")
	if got := h.sh("su bob -c 'docker ps --format {{.Names}}; docker exec trained id -u'"); got != "trained\n0" {
		t.Errorf("bob has %q", got)
	}
	h.devicesComeAndGo()

	h.sh("ds01 uninstall --yes")
	if diff := cmp.Diff(etc, h.etc()); diff != "" {
		t.Errorf("uninstalled, /etc is not as before (-before +after):\n%s", diff)
	}
	if got := h.running(usualSocket); got != ran {
		t.Errorf("containers ran as %s, now as %s", ran, got)
	}
	if got := h.sh("docker info -f '{{.DefaultRuntime}}'"); got != "nvidia" {
		t.Errorf("the default runtime is %s", got)
	}
}

// devicesComeAndGo takes the GPU from a container that runs and gives it back, and has
// systemd, which keeps the control groups, set its rules anew each time.
func (h *host) devicesComeAndGo() {
	t := h.t
	t.Helper()
	if got := h.sh("docker -H unix://" + engineSocket + " info -f '{{.CgroupDriver}} {{.CgroupVersion}}'"); !strings.HasPrefix(got, "systemd ") {
		t.Fatalf("the engine has %s", got)
	}
	want := func(step, says string) {
		t.Helper()
		for _, when := range []string{"", "systemctl daemon-reload; "} {
			// No driver stands behind the node: where the kernel lets it be opened, it says so.
			if got := h.sh(when + "su bob -c \"docker exec lab sh -c '(exec 3<>/node) 2>&1; true'\""); !strings.HasSuffix(got, says) {
				t.Errorf("%s%s: %s", when, step, got)
			}
		}
	}
	h.sh(`su bob -c 'docker run -d --name lab --gpus 1 busybox sleep 1000'
		node=$(stat -c '%Hr %Lr' /proc/$(docker -H unix://` + engineSocket + ` inspect -f '{{.State.Pid}}' lab._.$(id -u bob))/root/dev/nvidia0)
		mknod -m 666 /proc/$(docker -H unix://` + engineSocket + ` inspect -f '{{.State.Pid}}' lab._.$(id -u bob))/root/node c $node`)
	want("as it was started", "No such device or address")
	h.sh("su bob -c 'ds01 container gpu release lab'")
	want("released", "Operation not permitted")
	h.sh("su bob -c 'ds01 container gpu add lab'")
	want("added", "No such device or address")
	h.sh("su bob -c 'docker rm -f lab'")
}
