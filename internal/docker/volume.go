package docker

import (
	"context"

	cerrdefs "github.com/containerd/errdefs"
	dvolume "github.com/docker/docker/api/types/volume"
)

// Volumes returns the names of all volumes.
func (e *Engine) Volumes(ctx context.Context) ([]string, error) {
	list, err := e.api.VolumeList(ctx, dvolume.ListOptions{})
	if err != nil {
		return nil, explain("list volumes", err)
	}
	names := make([]string, 0, len(list.Volumes))
	for _, v := range list.Volumes {
		names = append(names, v.Name)
	}
	return names, nil
}

// VolumeFolders returns where on the host each volume's files are, "" for one
// that the engine's own driver doesn't keep.
func (e *Engine) VolumeFolders(ctx context.Context) (map[string]string, error) {
	list, err := e.api.VolumeList(ctx, dvolume.ListOptions{})
	if err != nil {
		return nil, explain("list volumes", err)
	}
	folders := map[string]string{}
	for _, v := range list.Volumes {
		folders[v.Name] = ""
		if v.Driver == "local" && len(v.Options) == 0 {
			folders[v.Name] = v.Mountpoint
		}
	}
	return folders, nil
}

// HasVolume reports whether there is a volume of that name.
func (e *Engine) HasVolume(ctx context.Context, name string) (bool, error) {
	_, err := e.api.VolumeInspect(ctx, name)
	if cerrdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, explain("look for volume "+name, err)
	}
	return true, nil
}

// CreateVolume makes a volume of the engine's own driver, on its own disk; one
// that is there already stays as it is.
func (e *Engine) CreateVolume(ctx context.Context, name string, labels map[string]string) error {
	_, err := e.api.VolumeCreate(ctx, dvolume.CreateOptions{Name: name, Driver: "local", Labels: labels})
	if err != nil {
		return explain("make volume "+name, err)
	}
	return nil
}
