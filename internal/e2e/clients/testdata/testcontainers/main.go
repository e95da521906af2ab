// Command testcontainers is a test as people write it with testcontainers-go.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/testcontainers/testcontainers-go"
	tcexec "github.com/testcontainers/testcontainers-go/exec"
	"github.com/testcontainers/testcontainers-go/network"
	"github.com/testcontainers/testcontainers-go/wait"
)

func main() {
	do := run
	if len(os.Args) > 1 {
		do = map[string]func(context.Context, string) error{"build": build, "leave": leave}[os.Args[1]]
	}
	if err := do(context.Background(), os.Getenv("WHO")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, who string) error {
	net, err := network.New(ctx)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	defer net.Remove(ctx)
	web, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
		ContainerRequest: testcontainers.ContainerRequest{
			Image: "busybox:latest", Name: "web",
			Cmd:            []string{"sh", "-c", "echo serving; exec httpd -f -p 80 -h /srv"},
			ExposedPorts:   []string{"80/tcp"},
			Networks:       []string{net.Name},
			NetworkAliases: map[string][]string{net.Name: {"site"}},
			Files:          []testcontainers.ContainerFile{{Reader: strings.NewReader(who), ContainerFilePath: "/srv/index.html", FileMode: 0o644}},
			WaitingFor:     wait.ForAll(wait.ForLog("serving"), wait.ForListeningPort("80/tcp"), wait.ForHTTP("/")),
		},
		Started: true,
	})
	if err != nil {
		return fmt.Errorf("container: %w", err)
	}
	defer web.Terminate(ctx, testcontainers.StopTimeout(0))
	if err := meet("up"); err != nil {
		return err
	}
	endpoint, err := web.PortEndpoint(ctx, "80/tcp", "http")
	if err != nil {
		return err
	}
	if got, err := fetch(endpoint); err != nil || got != who {
		return fmt.Errorf("%s answered %q, %w", endpoint, got, err)
	}
	if code, out, err := web.Exec(ctx, []string{"wget", "-qO-", "site"}, tcexec.Multiplexed()); err != nil || code != 0 || text(out) != who {
		return fmt.Errorf("exec: code %d, %w", code, err)
	}
	file, err := web.CopyFileFromContainer(ctx, "/srv/index.html")
	if err != nil || text(file) != who {
		return fmt.Errorf("a file: %w", err)
	}
	stop := time.Duration(0)
	if err := web.Stop(ctx, &stop); err != nil {
		return err
	}
	if err := web.Start(ctx); err != nil {
		return err
	}
	return meet("end")
}

// meet waits for the other person.
func meet(place string) error {
	said, err := exec.Command("meet", place).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(said))
	}
	return nil
}

func fetch(url string) (string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	return text(resp.Body), nil
}

func text(r io.Reader) string {
	data, err := io.ReadAll(r)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
