package daemon

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/docker"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/recorder"
)

// announced is an engine that is asked for changes only after what was allowed
// is written down.
type announced struct{ *docker.Engine }

// RoundTrip announces requests that aren't only looks.
func (a announced) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		if err := recorder.Before(r.Context()); err != nil {
			return nil, err
		}
	}
	return a.Engine.RoundTrip(r)
}

// Dial announces a stream.
func (a announced) Dial(ctx context.Context) (net.Conn, error) {
	if err := recorder.Before(ctx); err != nil {
		return nil, err
	}
	return a.Engine.Dial(ctx)
}

// Create announces a new container.
func (a announced) Create(ctx context.Context, name, platform string, body []byte) (id string, warnings []string, err error) {
	if err := recorder.Before(ctx); err != nil {
		return "", nil, err
	}
	return a.Engine.Create(ctx, name, platform, body)
}

// LoadImages announces images that are made.
func (a announced) LoadImages(ctx context.Context, archive io.Reader) error {
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	return a.Engine.LoadImages(ctx, archive)
}

// Start announces a start.
func (a announced) Start(ctx context.Context, id string) error {
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	return a.Engine.Start(ctx, id)
}

// Stop announces a stop.
func (a announced) Stop(ctx context.Context, id string, timeout time.Duration) error {
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	return a.Engine.Stop(ctx, id, timeout)
}

// Remove announces a removal.
func (a announced) Remove(ctx context.Context, id string, force bool) error {
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	return a.Engine.Remove(ctx, id, force)
}

// WriteFiles announces files written into a container.
func (a announced) WriteFiles(ctx context.Context, id string, files []container.File) error {
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	return a.Engine.WriteFiles(ctx, id, files)
}

// Pause announces a pause.
func (a announced) Pause(ctx context.Context, id string) error {
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	return a.Engine.Pause(ctx, id)
}

// Unpause announces an unpause.
func (a announced) Unpause(ctx context.Context, id string) error {
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	return a.Engine.Unpause(ctx, id)
}

// Rename announces a new name.
func (a announced) Rename(ctx context.Context, id, name string) error {
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	return a.Engine.Rename(ctx, id, name)
}

// Update announces a change of what a container may use.
func (a announced) Update(ctx context.Context, id string, body []byte) (warnings []string, err error) {
	if err := recorder.Before(ctx); err != nil {
		return nil, err
	}
	return a.Engine.Update(ctx, id, body)
}

// TagImage announces a new name of an image.
func (a announced) TagImage(ctx context.Context, id, name string) error {
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	return a.Engine.TagImage(ctx, id, name)
}

// RemoveImage announces a removal of an image or a name.
func (a announced) RemoveImage(ctx context.Context, reference string, force bool) ([]container.Removed, error) {
	if err := recorder.Before(ctx); err != nil {
		return nil, err
	}
	return a.Engine.RemoveImage(ctx, reference, force)
}

// CreateNetwork announces a new network.
func (a announced) CreateNetwork(ctx context.Context, s network.Spec) (id string, err error) {
	if err := recorder.Before(ctx); err != nil {
		return "", err
	}
	return a.Engine.CreateNetwork(ctx, s)
}

// Reconnect announces a container put back into a network.
func (a announced) Reconnect(ctx context.Context, id, name string, aliases []string) error {
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	return a.Engine.Reconnect(ctx, id, name, aliases)
}

// CreateVolume announces a new volume.
func (a announced) CreateVolume(ctx context.Context, name string, labels map[string]string) error {
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	return a.Engine.CreateVolume(ctx, name, labels)
}

// Run announces a program in a container.
func (a announced) Run(ctx context.Context, id string, command, env []string) (pid, code int, err error) {
	if err := recorder.Before(ctx); err != nil {
		return 0, 0, err
	}
	return a.Engine.Run(ctx, id, command, env)
}

// RemoveNetwork announces that a network goes.
func (a announced) RemoveNetwork(ctx context.Context, name string) error {
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	return a.Engine.RemoveNetwork(ctx, name)
}
