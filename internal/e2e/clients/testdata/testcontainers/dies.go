package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"
)

// leave makes a container on a network of its own, writes by which labels the
// reaper knows what is this test's, and waits to be killed.
func leave(ctx context.Context, who string) error {
	net, err := network.New(ctx)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	if _, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
		ContainerRequest: testcontainers.ContainerRequest{Image: "busybox:latest", Name: "left", Cmd: []string{"sleep", "1000"}, Networks: []string{net.Name}},
		Started:          true,
	}); err != nil {
		return fmt.Errorf("container: %w", err)
	}
	var words []string
	for key, value := range testcontainers.GenericLabels() {
		words = append(words, "--label", key+"="+value)
	}
	path := filepath.Join(os.Getenv("MEETING"), "labels")
	if err := os.WriteFile(path+"-"+who+".part", []byte(strings.Join(words, " ")), 0o644); err != nil {
		return err
	}
	if err := os.Rename(path+"-"+who+".part", path+"-"+who); err != nil {
		return err
	}
	time.Sleep(time.Hour) // it is killed before
	return nil
}
