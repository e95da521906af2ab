package redteam

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
)

// archives returns the tar files that vectors send, by placeholder.
func archives(f facts) (facts, error) {
	canary := f["{canary}"]
	written := file("../../../../../../../.."+canary+"/written", "x")
	link := tar.Header{Name: "d", Typeflag: tar.TypeSymlink, Linkname: canary, Mode: 0o777}
	setuid := file("su", "#!/bin/sh\n")
	setuid.head.Mode, setuid.head.Uid = 0o4755, 0
	device := tar.Header{Name: "kmsg", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 11, Mode: 0o666}
	recipe := f.fill("FROM {image}\nRUN [\"sh\",\"-c\",\"{payload}\"]\n")
	load, err := savedImage(f["{shared}"])
	if err != nil {
		return nil, err
	}
	all := facts{}
	for name, members := range map[string][]member{
		"{tarclimb}":  {written},
		"{tarlink}":   {{head: link}, file("d/written", "x")},
		"{tarsetuid}": {setuid},
		"{tardevice}": {{head: device}},
		"{tarbuild}":  {file("Dockerfile", recipe)},
		"{tarload}":   load,
	} {
		text, err := pack(members)
		if err != nil {
			return nil, err
		}
		all[name] = text
	}
	return all, nil
}

type member struct {
	head tar.Header
	data string
}

func file(name, data string) member {
	return member{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, data}
}

func pack(members []member) (string, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, m := range members {
		m.head.Size = int64(len(m.data))
		if err := w.WriteHeader(&m.head); err != nil {
			return "", fmt.Errorf("write an archive: %w", err)
		}
		if _, err := w.Write([]byte(m.data)); err != nil {
			return "", fmt.Errorf("write an archive: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return "", fmt.Errorf("write an archive: %w", err)
	}
	return out.String(), nil
}

// savedImage is an image as 'docker save' writes it, under a name.
func savedImage(name string) ([]member, error) {
	layer, err := pack([]member{file("loaded", "x")})
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(layer)))}},
	})
	if err != nil {
		return nil, fmt.Errorf("write an image: %w", err)
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "c.json", "RepoTags": []string{name}, "Layers": []string{"l/layer.tar"}}})
	if err != nil {
		return nil, fmt.Errorf("write an image: %w", err)
	}
	return []member{file("manifest.json", string(manifest)), file("c.json", string(config)), file("l/layer.tar", layer)}, nil
}
