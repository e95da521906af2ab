package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	dcontainer "github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/volume"
)

// List returns the ids of all containers with their labels, whatever their
// state. Only ID, Name, Image, ImageID, State, CreatedAt
// and Labels are filled.
func (e *Engine) List(ctx context.Context) ([]container.Observed, error) {
	list, err := e.api.ContainerList(ctx, dcontainer.ListOptions{All: true})
	if err != nil {
		return nil, explain("list containers", err)
	}
	all := make([]container.Observed, len(list))
	for i, c := range list {
		all[i] = container.Observed{ID: c.ID, Image: c.Image, ImageID: c.ImageID, State: c.State, Labels: c.Labels, CreatedAt: time.Unix(c.Created, 0).UTC()}
		if len(c.Names) > 0 {
			all[i].Name = strings.TrimPrefix(c.Names[0], "/")
		}
	}
	return all, nil
}

// ByClaim returns the container that carries the claim in its label. It is of
// kind problem.ErrNotFound when the engine has none.
func (e *Engine) ByClaim(ctx context.Context, claim string) (container.Observed, error) {
	list, err := e.api.ContainerList(ctx, dcontainer.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", label.Claim+"="+claim))})
	if err != nil {
		return container.Observed{}, explain("look for claim "+claim, err)
	}
	if len(list) == 0 {
		return container.Observed{}, Refusal("claim "+claim+" has no container", http.StatusNotFound, nil)
	}
	return e.Inspect(ctx, list[0].ID)
}

// Inspect returns one container with everything that is known of it.
func (e *Engine) Inspect(ctx context.Context, id string) (container.Observed, error) {
	c, err := e.api.ContainerInspect(ctx, id)
	if err != nil {
		return container.Observed{}, explain("inspect container "+short(id), err)
	}
	return observe(c), nil
}

// Stored returns one container as Inspect does, and the engine's whole answer.
func (e *Engine) Stored(ctx context.Context, id string) (container.Observed, []byte, error) {
	c, raw, err := e.api.ContainerInspectWithRaw(ctx, id, false)
	if err != nil {
		return container.Observed{}, nil, explain("inspect container "+short(id), err)
	}
	return observe(c), raw, nil
}

func observe(c dcontainer.InspectResponse) container.Observed {
	o := container.Observed{ID: c.ID, Name: strings.TrimPrefix(c.Name, "/"), Image: c.Image, ImageID: c.Image, CreatedAt: parseTime(c.Created)}
	if s := c.State; s != nil {
		o.State, o.ExitCode, o.PID = s.Status, s.ExitCode, s.Pid
		o.StartedAt, o.FinishedAt = parseTime(s.StartedAt), parseTime(s.FinishedAt)
	}
	if c.Config != nil {
		o.Image, o.Labels = c.Config.Image, c.Config.Labels
	}
	if h := c.HostConfig; h != nil {
		o.AutoRemove, o.ReadOnly, o.Group = h.AutoRemove, h.ReadonlyRootfs, h.CgroupParent
		o.AtStart = h.Runtime == admission.AtStartRuntime
		o.Restart = container.RestartPolicy{Name: string(h.RestartPolicy.Name), MaxRetries: h.RestartPolicy.MaximumRetryCount}
	}
	o.Hints = hints(c)
	for _, m := range c.Mounts {
		o.Mounts = append(o.Mounts, container.Mounted{Source: m.Source, Target: m.Destination})
		if m.Type == mount.TypeVolume {
			o.Volumes = append(o.Volumes, volume.Mounted{Name: m.Name, Source: m.Source, Target: m.Destination, ReadOnly: !m.RW})
		}
	}
	o.Layer, o.Given = layer(c), map[string]string{}
	for target, source := range map[string]string{"/etc/hosts": c.HostsPath, "/etc/hostname": c.HostnamePath, "/etc/resolv.conf": c.ResolvConfPath} {
		if source != "" {
			o.Given[target] = source
		}
	}
	if c.NetworkSettings != nil {
		o.Networks = map[string]string{}
		for name, endpoint := range c.NetworkSettings.Networks {
			o.Networks[name] = endpoint.NetworkID
		}
	}
	return o
}

// layer returns where overlay2 keeps a container's files, zero for another
// storage driver.
func layer(c dcontainer.InspectResponse) container.Layer {
	if c.GraphDriver.Name != "overlay2" || c.GraphDriver.Data["LowerDir"] == "" {
		return container.Layer{}
	}
	d := c.GraphDriver.Data
	return container.Layer{Lower: strings.Split(d["LowerDir"], ":"), Upper: d["UpperDir"], Work: d["WorkDir"], Merged: d["MergedDir"]}
}

func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t.UTC()
}

// hints collects everything in a container's configuration that can name a
// GPU. What it asked for when it was made is nothing where devices come at each
// start.
func hints(c dcontainer.InspectResponse) gpu.Hints {
	var h gpu.Hints
	for _, m := range c.Mounts {
		h.Paths = append(h.Paths, m.Source)
	}
	atStart := c.HostConfig != nil && c.HostConfig.Runtime == admission.AtStartRuntime
	if c.Config != nil && !atStart {
		for _, v := range c.Config.Env {
			if value, ok := strings.CutPrefix(v, "NVIDIA_VISIBLE_DEVICES="); ok {
				h.Visible = append(h.Visible, value)
			}
		}
	}
	if c.HostConfig == nil {
		return h
	}
	h.All = c.HostConfig.Privileged
	h.Rules = c.HostConfig.DeviceCgroupRules
	for _, d := range c.HostConfig.Devices {
		h.Paths = append(h.Paths, d.PathOnHost)
	}
	if atStart {
		return h
	}
	for _, r := range c.HostConfig.DeviceRequests {
		h.All = h.All || r.Count < 0
		h.Count += max(r.Count, 0)
		h.DeviceIDs = append(h.DeviceIDs, r.DeviceIDs...)
	}
	return h
}

// Start starts a container; starting one that runs is no error.
func (e *Engine) Start(ctx context.Context, id string) error {
	if err := e.api.ContainerStart(ctx, id, dcontainer.StartOptions{}); err != nil {
		return explain("start container "+short(id), err)
	}
	return nil
}

// Stop asks a container to end, and ends it after timeout; a negative timeout
// leaves the grace period to the container's own configuration.
func (e *Engine) Stop(ctx context.Context, id string, timeout time.Duration) error {
	var options dcontainer.StopOptions
	if timeout >= 0 {
		seconds := int(timeout / time.Second)
		options.Timeout = &seconds
	}
	if err := e.api.ContainerStop(ctx, id, options); err != nil {
		return explain("stop container "+short(id), err)
	}
	return nil
}

// Remove removes a container and its anonymous volumes; force ends it first.
func (e *Engine) Remove(ctx context.Context, id string, force bool) error {
	if err := e.api.ContainerRemove(ctx, id, dcontainer.RemoveOptions{Force: force, RemoveVolumes: true}); err != nil {
		return explain("remove container "+short(id), err)
	}
	return nil
}

// runEvery is how often Run asks whether a program has ended.
const runEvery = 200 * time.Millisecond

// Run runs a program in a running container, as whoever the container runs as,
// and returns its process on the host and its exit code once it has ended. Where
// ctx ends first, it runs on.
func (e *Engine) Run(ctx context.Context, id string, command, env []string) (pid, code int, err error) {
	made, err := e.api.ContainerExecCreate(ctx, id, dcontainer.ExecOptions{Cmd: command, Env: env})
	if err == nil {
		err = e.api.ContainerExecStart(ctx, made.ID, dcontainer.ExecStartOptions{Detach: true})
	}
	for err == nil {
		var is dcontainer.ExecInspect
		if is, err = e.api.ContainerExecInspect(ctx, made.ID); err != nil {
			break
		}
		if pid = is.Pid; !is.Running {
			return pid, is.ExitCode, nil
		}
		select {
		case <-ctx.Done():
			return pid, 0, ctx.Err()
		case <-time.After(runEvery):
		}
	}
	if ctx.Err() != nil {
		return pid, 0, ctx.Err()
	}
	return pid, 0, explain("run a program in container "+short(id), err)
}

// Size returns how much a container has written beyond its image. The engine
// looks through all of it.
func (e *Engine) Size(ctx context.Context, id string) (quantity.ByteSize, error) {
	c, _, err := e.api.ContainerInspectWithRaw(ctx, id, true)
	if err != nil {
		return 0, explain("measure container "+short(id), err)
	}
	if c.SizeRw == nil {
		return 0, nil
	}
	return quantity.ByteSize(*c.SizeRw), nil
}

// maxFile is the largest file that ReadFile reads, in bytes.
const maxFile = 1 << 20

// ReadFile reads a small regular file out of a container's file system. It is
// of kind problem.ErrNotFound where there is none.
func (e *Engine) ReadFile(ctx context.Context, id, name string) ([]byte, error) {
	stream, _, err := e.api.CopyFromContainer(ctx, id, name)
	if err != nil {
		return nil, explain("read "+name+" of container "+short(id), err)
	}
	defer stream.Close() //nolint:errcheck // read only
	archive := tar.NewReader(stream)
	header, err := archive.Next()
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s of container %s: %w", name, short(id), err)
	case header.Typeflag != tar.TypeReg:
		return nil, Refusal(name+" is no file", http.StatusNotFound, nil)
	case header.Size > maxFile:
		return nil, fmt.Errorf("read %s of container %s: it has %d bytes, over %d", name, short(id), header.Size, maxFile)
	}
	data, err := io.ReadAll(archive)
	if err != nil {
		return nil, fmt.Errorf("read %s of container %s: %w", name, short(id), err)
	}
	return data, nil
}

// Exists reports whether there is something at a path of a container's file
// system.
func (e *Engine) Exists(ctx context.Context, id, name string) (bool, error) {
	_, err := e.api.ContainerStatPath(ctx, id, name)
	if cerrdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, explain("look for "+name+" in container "+short(id), err)
	}
	return true, nil
}

// WriteFiles writes files into a container's own layer.
func (e *Engine) WriteFiles(ctx context.Context, id string, files []container.File) error {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, f := range files {
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: strings.TrimPrefix(path.Clean(f.Path), "/"),
			Mode: f.Mode, Uid: f.UID, Gid: f.GID, Size: int64(len(f.Data)),
		}
		if f.Dir {
			header.Typeflag, header.Name, header.Size = tar.TypeDir, header.Name+"/", 0
		}
		if err := w.WriteHeader(header); err != nil {
			return fmt.Errorf("write %s: %w", f.Path, err)
		}
		if _, err := w.Write(f.Data); err != nil {
			return fmt.Errorf("write %s: %w", f.Path, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("write files: %w", err)
	}
	if err := e.api.CopyToContainer(ctx, id, "/", &archive, dcontainer.CopyToContainerOptions{}); err != nil {
		return explain("write into container "+short(id), err)
	}
	return nil
}

// Events calls changed for every one of container.Actions, until ctx ends or the
// engine hangs up; the error then says which. ready is called once the engine has
// begun to tell: what changed before must be looked up.
func (e *Engine) Events(ctx context.Context, ready func(), changed func(container.Event)) error {
	wanted := filters.NewArgs()
	for _, kind := range []string{container.KindContainer, container.KindNetwork, container.KindVolume, container.KindImage} {
		wanted.Add("type", kind)
	}
	for _, action := range container.Actions() {
		wanted.Add("event", action)
	}
	messages, errs := e.api.Events(ctx, events.ListOptions{Filters: wanted})
	ready()
	for {
		select {
		case m := <-messages:
			changed(container.Event{Kind: string(m.Type), ID: m.Actor.ID, Action: string(m.Action), Claim: m.Actor.Attributes[label.Claim]})
		case err := <-errs:
			return explain("follow events", err)
		}
	}
}

func short(id string) string { return id[:min(len(id), 12)] }
