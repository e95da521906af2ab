package clients_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// startSSH starts an SSH server on the engine's network, at which everybody can
// log in as themselves.
func (w *world) startSSH(t *testing.T) {
	t.Helper()
	const port = "2222" // nobody else is on that network
	w.ssh = port
	dir := t.TempDir()
	must(t, os.MkdirAll("/run/sshd", 0o755)) // where the server leaves its rights
	key := func(name string) string {
		path := filepath.Join(dir, name)
		must(t, exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path).Run())
		return path
	}
	host := key("host")
	server := write(t, filepath.Join(dir, "sshd_config"), fmt.Sprintf(`
ListenAddress 127.0.0.1
Port %s
HostKey %s
PidFile none
UsePAM yes
PasswordAuthentication no
SetEnv DOCKER_HOST=unix://%s
`, port, host, w.GatewaySocket()))
	for _, who := range folks {
		p := w.Person(who)
		ssh := filepath.Join(p.Home, ".ssh")
		must(t, os.Mkdir(ssh, 0o700))
		own := key(who)
		move(t, own, filepath.Join(ssh, "id_ed25519"))
		move(t, own+".pub", filepath.Join(ssh, "authorized_keys"))
		write(t, filepath.Join(ssh, "config"), "StrictHostKeyChecking no\nLogLevel ERROR\n")
		must(t, exec.Command("chown", "-R", strconv.Itoa(p.UID)+":"+strconv.Itoa(p.GID), ssh).Run())
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	must(t, err)
	cmd := exec.Command("nsenter", "--net="+w.Engine.NetNS(), "/usr/sbin/sshd", "-D", "-e", "-f", server)
	cmd.Stderr = log
	must(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill() // sessions have ended with their scripts
		cmd.Wait()
		log.Close()
	})
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func move(t *testing.T, from, to string) {
	t.Helper()
	must(t, os.Rename(from, to))
}
