// Package docker speaks to the Docker engine on a socket that only root can
// reach. It is the only importer of Docker's SDK. It decides nothing and
// knows nothing of owners.
package docker

import (
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
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/client"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// Engine is one engine behind a unix socket. It is safe for concurrent use
// and needs no engine to be there until it is asked.
type Engine struct {
	socket    string
	api       *client.Client
	transport *http.Transport
	version   atomic.Pointer[string] // newest API version, once known
}

// New returns the engine behind the unix socket at path.
func New(socket string) (*Engine, error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	transport := &http.Transport{DialContext: dial, DisableCompression: true, MaxIdleConnsPerHost: 32}
	api, err := client.NewClientWithOpts(
		client.WithHost("unix://"+socket),
		client.WithHTTPClient(&http.Client{Transport: transport}),
		client.WithAPIVersionNegotiation(),
	)
	if err != nil {
		return nil, fmt.Errorf("engine client: %w", err)
	}
	return &Engine{socket: socket, api: api, transport: transport}, nil
}

// Close drops idle connections.
func (e *Engine) Close() error {
	e.transport.CloseIdleConnections()
	return e.api.Close()
}

// Dial opens a connection of its own, for a stream.
func (e *Engine) Dial(ctx context.Context) (net.Conn, error) {
	conn, err := e.transport.DialContext(ctx, "unix", e.socket)
	if err != nil {
		return nil, explain("connect to the engine", err)
	}
	return conn, nil
}

// RoundTrip sends a rebuilt request. Its URL holds path and query; scheme and
// host are set here. Where the engine isn't there it is a container.NotAskedError.
func (e *Engine) RoundTrip(r *http.Request) (*http.Response, error) {
	r.URL.Scheme, r.URL.Host, r.Host = "http", "docker", "docker"
	resp, err := e.transport.RoundTrip(r)
	if err == nil {
		return resp, nil
	}
	explained := explain("reach the engine", err)
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		explained = container.NotAsked(explained)
	}
	return nil, explained
}

// Info asks the engine who it is.
func (e *Engine) Info(ctx context.Context) (container.EngineInfo, error) {
	ping, err := e.api.Ping(ctx)
	if err != nil {
		return container.EngineInfo{}, explain("ping the engine", err)
	}
	e.version.Store(&ping.APIVersion)
	info, err := e.api.Info(ctx)
	if err != nil {
		return container.EngineInfo{}, explain("ask the engine who it is", err)
	}
	out := container.EngineInfo{
		Version: info.ServerVersion, API: ping.APIVersion, ID: info.ID, DataRoot: info.DockerRootDir,
		CgroupDriver: info.CgroupDriver, CgroupVersion: info.CgroupVersion,
		Runtime: info.DefaultRuntime,
		CPUs:    quantity.CPUs(info.NCPU) * 1e9, Memory: quantity.ByteSize(info.MemTotal),
		CDI: len(info.CDISpecDirs) > 0, CDISpec: hasNvidiaSpec(info.CDISpecDirs),
		Storage: info.Driver, Containerd: slices.Contains(info.DriverStatus, [2]string{"driver-type", "io.containerd.snapshotter.v1"}),
	}
	_, out.AtStart = info.Runtimes[admission.AtStartRuntime]
	if version, err := e.api.ServerVersion(ctx); err == nil { // not known, not judged
		for _, part := range version.Components {
			if part.Name == "runc" {
				out.Runc = part.Version
			}
		}
	}
	_, hookErr := exec.LookPath("nvidia-container-runtime-hook")
	out.Hook = hookErr == nil
	if out.Bridge, err = e.bridged(ctx); err != nil {
		return container.EngineInfo{}, err
	}
	return out, readRemap(&out, info)
}

func hasNvidiaSpec(dirs []string) bool {
	for _, d := range dirs {
		for _, name := range []string{"nvidia.yaml", "nvidia.json"} {
			if _, err := os.Stat(filepath.Join(d, name)); err == nil {
				return true
			}
		}
	}
	return false
}

// readRemap finds the engine's id range: a remapped engine keeps its data in
// "<base>.<base>" below the data root, and /etc/subuid holds the length.
func readRemap(out *container.EngineInfo, info system.Info) error {
	for _, option := range info.SecurityOptions {
		out.Remapped = out.Remapped || strings.Contains(option, "name=userns")
	}
	if !out.Remapped {
		return nil
	}
	uid, gid, _ := strings.Cut(filepath.Base(info.DockerRootDir), ".")
	base, err := strconv.Atoi(uid)
	if err != nil || uid != gid {
		return fmt.Errorf("engine's remapped range: its data root %s doesn't end in one <id>.<id>", info.DockerRootDir)
	}
	subuid, err := os.ReadFile("/etc/subuid")
	if err != nil {
		return fmt.Errorf("engine's remapped range: %w", err)
	}
	for line := range strings.Lines(string(subuid)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) == 3 && f[1] == uid {
			if out.RemapSize, err = strconv.Atoi(f[2]); err == nil {
				out.RemapBase = base
				return nil
			}
		}
	}
	return fmt.Errorf("engine's remapped range: /etc/subuid has no range that begins at %d", base)
}

// apiVersion returns the newest version the engine speaks.
func (e *Engine) apiVersion(ctx context.Context) (string, error) {
	if v := e.version.Load(); v != nil {
		return *v, nil
	}
	ping, err := e.api.Ping(ctx)
	if err != nil {
		return "", explain("ping the engine", err)
	}
	e.version.Store(&ping.APIVersion)
	return ping.APIVersion, nil
}

// Create sends the body of a create request that ds01 wrote. Only an error of
// kind problem.ErrInvalid, ErrDenied, ErrNotFound or ErrConflict, and a
// container.NotAskedError, means that there is no container.
func (e *Engine) Create(ctx context.Context, name, platform string, body []byte) (id string, warnings []string, err error) {
	query := url.Values{"name": {name}}
	if platform != "" {
		query.Set("platform", platform)
	}
	var answer struct {
		ID       string `json:"Id"`
		Warnings []string
	}
	err = e.post(ctx, "the engine refused the container", "/containers/create?"+query.Encode(), body, &answer)
	return answer.ID, answer.Warnings, err
}

// Update sends the body of an update that ds01 wrote.
func (e *Engine) Update(ctx context.Context, id string, body []byte) (warnings []string, err error) {
	var answer struct{ Warnings []string }
	err = e.post(ctx, "the engine refused the update", "/containers/"+url.PathEscape(id)+"/update", body, &answer)
	return answer.Warnings, err
}

// post sends a JSON body to a path without version, and decodes the answer.
func (e *Engine) post(ctx context.Context, refused, path string, body []byte, answer any) error {
	version, err := e.apiVersion(ctx)
	if err != nil {
		return container.NotAsked(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "/v"+version+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask the engine: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := e.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read; nothing is lost
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return explain("read the engine's answer", err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return Refusal(refused, resp.StatusCode, data)
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("read the engine's answer: %w", err)
	}
	return nil
}

// Refusal turns an answer of the engine into an error of the kind that its
// status means.
func Refusal(what string, status int, body []byte) error {
	var answer struct{ Message string }
	if err := json.Unmarshal(body, &answer); err != nil || answer.Message == "" {
		answer.Message = fmt.Sprintf("status %d: %s", status, bytes.TrimSpace(body))
	}
	kinds := map[int]error{
		http.StatusBadRequest: problem.ErrInvalid, http.StatusForbidden: problem.ErrDenied,
		http.StatusNotFound: problem.ErrNotFound, http.StatusConflict: problem.ErrConflict,
		http.StatusServiceUnavailable: problem.ErrUnavailable,
	}
	return &problem.Error{What: what, Why: problem.Because(kinds[status], answer.Message)}
}

// explain gives an error of the SDK or the transport its kind.
func explain(doing string, err error) error {
	var kind error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", doing, err)
	case cerrdefs.IsNotFound(err):
		kind = problem.ErrNotFound
	case cerrdefs.IsConflict(err):
		kind = problem.ErrConflict
	case cerrdefs.IsInvalidArgument(err):
		kind = problem.ErrInvalid
	case cerrdefs.IsPermissionDenied(err):
		kind = problem.ErrDenied
	case cerrdefs.IsInternal(err), cerrdefs.IsUnknown(err) && !client.IsErrConnectionFailed(err) && !isNetwork(err):
		return fmt.Errorf("%s: %w", doing, err)
	default:
		return &problem.Error{
			What: "the Docker engine doesn't answer",
			Why:  problem.Because(problem.ErrUnavailable, fmt.Sprintf("%s: %s", doing, err)),
			Next: "Containers that run are not affected. Try again in a minute; if it lasts, tell your administrators.",
		}
	}
	return &problem.Error{What: "the engine can't " + doing, Why: problem.Because(kind, err.Error())}
}

func isNetwork(err error) bool {
	var n net.Error
	var op *net.OpError
	return errors.As(err, &op) || errors.As(err, &n) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
