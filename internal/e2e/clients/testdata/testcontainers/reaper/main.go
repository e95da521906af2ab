// Command reaper stands in for Ryuk, whose image no registry is there to give,
// and which the Go module proxy doesn't serve (403, "This module version is not
// available"): it speaks Ryuk's protocol and asks the engine for what Ryuk asks for,
// when each thing was made, too, for Ryuk leaves alone what is too new or doesn't say. It listens on port 8080 for lines of filters,
// label=KEY=VALUE&…, and acknowledges each. Once nobody has been connected for
// RYUK_RECONNECTION_TIMEOUT it removes what any line matches, and ends.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/moby/moby/client"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	engine, err := client.New(client.FromEnv)
	if err != nil {
		return err
	}
	if _, err := engine.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	patience, err := time.ParseDuration(os.Getenv("RYUK_RECONNECTION_TIMEOUT"))
	if err != nil {
		patience = 10 * time.Second
	}
	l, err := net.Listen("tcp", ":8080")
	if err != nil {
		return err
	}
	fmt.Println("Started")
	var errs []error
	for _, filters := range collect(l, patience) {
		errs = append(errs, reap(ctx, engine, filters))
	}
	return errors.Join(errs...)
}

// collect returns the filters of everybody who has connected, once all of them
// have gone for so long.
func collect(l net.Listener, patience time.Duration) (all []client.Filters) {
	came, went, told := make(chan struct{}), make(chan struct{}), make(chan client.Filters)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			came <- struct{}{}
			go func() {
				listen(conn, told)
				went <- struct{}{}
			}()
		}
	}()
	idle, connected := time.NewTimer(time.Minute), 0
	for {
		select {
		case <-came:
			connected++
			idle.Stop()
		case <-went:
			if connected--; connected == 0 {
				idle.Reset(patience)
			}
		case f := <-told:
			all = append(all, f)
		case <-idle.C:
			return all
		}
	}
}

// listen reads filters and acknowledges them.
func listen(conn net.Conn, told chan<- client.Filters) {
	defer conn.Close()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		query, err := url.ParseQuery(lines.Text())
		if err == nil && len(query) > 0 {
			filters := client.Filters{}
			for key, values := range query {
				filters.Add(key, values...)
			}
			told <- filters
		}
		fmt.Fprintln(conn, "ACK")
	}
}

// reap removes what the filters match, but for reapers.
func reap(ctx context.Context, engine *client.Client, filters client.Filters) error {
	containers, e1 := engine.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filters})
	networks, e2 := engine.NetworkList(ctx, client.NetworkListOptions{Filters: filters})
	volumes, e3 := engine.VolumeList(ctx, client.VolumeListOptions{Filters: filters})
	images, e4 := engine.ImageList(ctx, client.ImageListOptions{Filters: filters})
	errs := []error{e1, e2, e3, e4}
	for _, c := range containers.Items {
		if err := made(c.ID, time.Unix(c.Created, 0)); err != nil {
			errs = append(errs, err)
			continue
		}
		if c.Labels["org.testcontainers.ryuk"] != "true" {
			_, err := engine.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{RemoveVolumes: true, Force: true})
			errs = append(errs, err)
		}
	}
	for _, n := range networks.Items {
		if err := made(n.ID, n.Created); err != nil {
			errs = append(errs, err)
			continue
		}
		_, err := engine.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
		errs = append(errs, err)
	}
	for _, v := range volumes.Items {
		when, err := time.Parse(time.RFC3339, v.CreatedAt)
		if err = errors.Join(err, made(v.Name, when)); err != nil {
			errs = append(errs, err)
			continue
		}
		_, err = engine.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{Force: true})
		errs = append(errs, err)
	}
	for _, i := range images.Items {
		if err := made(i.ID, time.Unix(i.Created, 0)); err != nil {
			errs = append(errs, err)
			continue
		}
		_, err := engine.ImageRemove(ctx, i.ID, client.ImageRemoveOptions{PruneChildren: true})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// made is an error where a thing says no time, of this hour, when it was made.
func made(id string, when time.Time) error {
	if ago := time.Since(when); ago < -time.Minute || ago > time.Hour {
		return fmt.Errorf("%s is said to be made at %s", id, when)
	}
	return nil
}
