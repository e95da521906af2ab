package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

// build starts what a Dockerfile of the test's own makes.
func build(ctx context.Context, who string) error {
	const dockerfile = "FROM busybox\nARG COURSE\nCOPY note /srv/index.html\nRUN echo $COURSE >>/srv/index.html\nCMD [\"httpd\", \"-f\", \"-p\", \"80\", \"-h\", \"/srv\"]\n"
	for name, data := range map[string]string{"Dockerfile": dockerfile, "note": who + "\n"} {
		if err := os.WriteFile(filepath.Join(".", name), []byte(data), 0o600); err != nil {
			return err
		}
	}
	course := "ml"
	web, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
		ContainerRequest: testcontainers.ContainerRequest{
			FromDockerfile: testcontainers.FromDockerfile{Context: ".", Repo: "web", Tag: "test", BuildArgs: map[string]*string{"COURSE": &course}, PrintBuildLog: true},
			ExposedPorts:   []string{"80/tcp"},
			WaitingFor:     wait.ForHTTP("/"),
		},
		Started: true,
	})
	if err != nil {
		return fmt.Errorf("container: %w", err)
	}
	defer web.Terminate(ctx, testcontainers.StopTimeout(0)) // with its image
	if err := meet("up"); err != nil {
		return err
	}
	endpoint, err := web.PortEndpoint(ctx, "80/tcp", "http")
	if err != nil {
		return err
	}
	if got, err := fetch(endpoint); err != nil || got != who+"\nml\n" {
		return fmt.Errorf("%s answered %q, %w", endpoint, got, err)
	}
	return meet("end")
}
