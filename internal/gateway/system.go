package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"ds01.dev/ds01/internal/admission"
)

// ping answers for an engine that is up, as every client asks before each
// command. One that isn't is asked, for what is wrong.
func (c *call) ping() error {
	if !c.Observer.Up() || c.API() == "" {
		return c.pass()
	}
	h := c.w.Header()
	for key, value := range map[string]string{
		"Api-Version": c.API(), "Docker-Experimental": "false", "Ostype": "linux",
		"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache",
		"Content-Type": "text/plain; charset=utf-8", "Content-Length": "2",
	} {
		h.Set(key, value)
	}
	if c.match.Method == http.MethodGet {
		_, _ = c.w.Write([]byte("OK")) // a client that went needs no answer
	}
	return errAnswered
}

// info answers with the engine's own words, less what speaks of others or of
// how the host is set up: the counts are the caller's. Administrators get all.
func (c *call) info() error {
	data, err := c.fetch(c.r.Context(), http.MethodGet, "/info", nil, nil)
	if err != nil {
		return err
	}
	if c.roles.Admin {
		return c.raw(http.StatusOK, data)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return fmt.Errorf("read the engine's answer: %w", err)
	}
	counts, err := c.counts()
	if err != nil {
		return err
	}
	shown := map[string]any{}
	for _, f := range admission.InfoFields() {
		value, told := all[f.Name]
		switch {
		case f.How == admission.InfoCounted:
			shown[f.Name] = counts[f.Name]
		case !told || f.How == admission.InfoLeftOut:
		case f.Name == "Runtimes":
			shown[f.Name] = admission.Runtimes(c.Launcher.MayGrantGPUs(c.roles))
		case f.How == admission.InfoReduced:
			if shown[f.Name], err = readStatus(value); err != nil {
				return err
			}
		default:
			shown[f.Name] = value
		}
	}
	return c.json(http.StatusOK, shown)
}

// readStatus returns the lines of DriverStatus that clients read.
func readStatus(value []byte) ([][]string, error) {
	var lines [][]string
	if err := json.Unmarshal(value, &lines); err != nil {
		return nil, fmt.Errorf("read the engine's answer: %w", err)
	}
	return slices.DeleteFunc(lines, func(line []string) bool { return len(line) == 0 || !admission.ReadDriverStatus(line[0]) }), nil
}

// counts returns how many containers and images the caller's lists have, by
// the fields of the engine's answer.
func (c *call) counts() (map[string]int, error) {
	rows, err := c.ownRows(nil)
	if err != nil {
		return nil, err
	}
	images, err := c.Images.View(c.r.Context(), c.person())
	if err != nil {
		return nil, err
	}
	n := map[string]int{"Containers": len(rows), "Images": len(images.Images())}
	for _, row := range rows {
		switch row.State {
		case "running":
			n["ContainersRunning"]++
		case "paused":
			n["ContainersPaused"]++
		default:
			n["ContainersStopped"]++
		}
	}
	return n, nil
}
