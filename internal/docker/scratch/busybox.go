package scratch

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
)

// LoadBusybox makes the image busybox:latest from the host's static busybox,
// without a registry. Its command is sh.
func (e *Engine) LoadBusybox(ctx context.Context) error {
	files, err := busyboxTar(ctx)
	if err != nil {
		return fmt.Errorf("pack busybox: %w", err)
	}
	query := url.Values{
		"fromSrc": {"-"}, "repo": {"busybox"}, "tag": {"latest"},
		"changes": {`CMD ["sh"]`, "ENV PATH=/bin"},
	}
	resp, err := e.call(ctx, http.MethodPost, "/images/create?"+query.Encode(), files)
	if err != nil {
		return fmt.Errorf("import busybox: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	for messages := json.NewDecoder(resp.Body); ; {
		var message struct {
			Error string `json:"error"`
		}
		switch err := messages.Decode(&message); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("import busybox: %w", err)
		case message.Error != "":
			return fmt.Errorf("import busybox: %s", message.Error)
		}
	}
}

// busyboxTar returns a root file system with busybox and a link for each of
// its commands.
func busyboxTar(ctx context.Context) (io.Reader, error) {
	program, err := os.ReadFile(busybox)
	if err != nil {
		return nil, fmt.Errorf("read the program: %w", err)
	}
	commands, err := exec.CommandContext(ctx, busybox, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("list its commands: %w", err)
	}
	var entries []tar.Header
	for _, dir := range []string{"bin", "dev", "etc", "proc", "root", "sys"} {
		entries = append(entries, tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755})
	}
	entries = append(entries, tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777})
	for command := range strings.FieldsSeq(string(commands)) {
		if command != "busybox" {
			entries = append(entries, tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + command, Linkname: "busybox"})
		}
	}
	buf := new(bytes.Buffer)
	w := tar.NewWriter(buf)
	for _, header := range entries {
		if err := w.WriteHeader(&header); err != nil {
			return nil, fmt.Errorf("pack %s: %w", header.Name, err)
		}
	}
	for _, file := range []struct {
		name    string
		mode    int64
		content []byte
	}{
		{"bin/busybox", 0o755, program},
		{"etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\n")},
		{"etc/group", 0o644, []byte("root:x:0:\n")},
	} {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: file.name, Mode: file.mode, Size: int64(len(file.content))}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("pack %s: %w", file.name, err)
		}
		if _, err := w.Write(file.content); err != nil {
			return nil, fmt.Errorf("pack %s: %w", file.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	return buf, nil
}

// call sends a request to the engine. An answer other than 200 is an error.
func (e *Engine) call(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://engine"+path, body)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", e.opts.Socket)
		},
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("ask the engine: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	said, err := io.ReadAll(io.LimitReader(resp.Body, 1000))
	if err != nil {
		return nil, fmt.Errorf("read the engine's answer: %w", err)
	}
	return nil, fmt.Errorf("the engine answered %s: %s", resp.Status, strings.TrimSpace(string(said)))
}
