// Package gateway serves the Docker API to people: it knows the caller by the
// kernel's word, finds the route in admission's table, maps names to the
// caller's own containers, and sends requests of its own making to the
// engine. The client's bytes never go on, but for streams of a container that
// is theirs.
package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/archiver"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/peer"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/recorder"
	"ds01.dev/ds01/internal/registrar"
	"ds01.dev/ds01/internal/sampler"
	"ds01.dev/ds01/internal/volume"
)

// Engine carries rebuilt requests and streams.
type Engine interface {
	RoundTrip(r *http.Request) (*http.Response, error)
	Dial(ctx context.Context) (net.Conn, error)
}

// Observer follows the engine.
type Observer interface {
	// Observe looks at one container at once, before its event comes.
	Observe(ctx context.Context, id string) error
	// Up reports whether the engine answered last.
	Up() bool
}

// Files opens what is to be copied.
type Files interface {
	Volume(v volume.Mounted) (*archiver.Tree, error)
	// Layer opens a container's own files, whose Layer is known; without write
	// they aren't changed.
	Layer(record container.Record, o container.Observed, write bool) (*archiver.Tree, error)
	// Snapshot has the engine find the files of such a container as they are
	// now, until undo is called.
	Snapshot(o container.Observed) (undo func() error, err error)
}

// Dockerfiles reads those that people build by.
type Dockerfiles interface {
	admission.Syntax
	// Ignored reports whether the text of a .dockerignore leaves a file out.
	Ignored(ignore []byte, name string) (bool, error)
}

// Parts are what a gateway works with.
type Parts struct {
	Engine     Engine
	Images     *curator.Curator
	Ledger     *allocator.Allocator
	Launcher   *launcher.Launcher
	Registrar  *registrar.Registrar
	Observer   Observer
	Accounts   launcher.Accounts
	Roles      func(account.Account) account.Roles
	Isolation  func() admission.Isolation
	API        func() string                                          // newest API version of the engine, "" while unknown
	StopGrace  func(a account.Account, kind string) (d time.Duration) // longest stop timeout of a kind of container, negative: none
	Registries func() []string                                        // hosts that images may come from and go to; empty: all
	Space      func() container.Space                                 // on the engine's disk
	Files      Files
	Kit        BuildKit
	Recipes    Dockerfiles
	Terminals  *sampler.Terminals   // are told of what people type
	Closing    <-chan struct{}      // closed when the daemon stops: streams end
	GPUWait    func() time.Duration // how long a create or start waits for a device; nil: not at all
	Origins    *peer.Origins        // nil: nobody knows where requests come from
	Recorder   *recorder.Recorder   // nil: nothing is written down
	Log        *slog.Logger
	Now        func() time.Time
}

// Gateway is an http.Handler. It is safe for concurrent use.
type Gateway struct {
	Parts
	table *admission.Table
	serve map[admission.Op]func(*call) error
	lists sync.Pool // of *listing
	execs *execs
	kits  sync.Map      // kitID to context.CancelFunc: builds by BuildKit
	walks chan struct{} // one token: the engine measures its disk for one at a time
}

// New returns a gateway of these parts.
func New(p Parts) *Gateway {
	p.Engine = announced{p.Engine}
	g := &Gateway{Parts: p, table: admission.NewTable(), execs: newExecs(), walks: make(chan struct{}, 1)}
	g.serve = map[admission.Op]func(*call) error{
		admission.Ping:              (*call).ping,
		admission.Version:           (*call).pass,
		admission.Info:              (*call).info,
		admission.Events:            (*call).events,
		admission.ImageCreate:       (*call).imageCreate,
		admission.ImageList:         (*call).imageList,
		admission.ImageInspect:      (*call).imageInspect,
		admission.ImageHistory:      (*call).imageHistory,
		admission.ImageTag:          (*call).imageTag,
		admission.ImageRemove:       (*call).imageRemove,
		admission.ImagePrune:        (*call).imagePrune,
		admission.ImagePush:         (*call).imagePush,
		admission.ImageLoad:         (*call).imageLoad,
		admission.ImageSave:         (*call).imageSave,
		admission.ImageSaveOne:      (*call).imageSave,
		admission.ImageSearch:       (*call).imageSearch,
		admission.ImageCommit:       (*call).commit,
		admission.Distribution:      (*call).distribution,
		admission.Auth:              (*call).auth,
		admission.ContainerList:     (*call).list,
		admission.ContainerCreate:   (*call).create,
		admission.ContainerInspect:  (*call).inspect,
		admission.ContainerTop:      (*call).top,
		admission.ContainerLogs:     (*call).stream,
		admission.ContainerStats:    (*call).stats,
		admission.ContainerStart:    (*call).start,
		admission.ContainerStop:     (*call).stop,
		admission.ContainerRestart:  (*call).restart,
		admission.ContainerUpdate:   (*call).update,
		admission.ContainerKill:     (*call).kill,
		admission.ContainerWait:     (*call).wait,
		admission.ContainerResize:   (*call).change,
		admission.ContainerAttach:   (*call).attach,
		admission.ContainerRemove:   (*call).remove,
		admission.ArchiveStat:       (*call).archive,
		admission.ArchiveGet:        (*call).archive,
		admission.ArchivePut:        (*call).extract,
		admission.ContainerExport:   (*call).stream,
		admission.ContainerChanges:  (*call).changes,
		admission.ContainerRename:   (*call).rename,
		admission.ContainerPause:    (*call).pause,
		admission.ContainerUnpause:  (*call).unpause,
		admission.ContainerPrune:    (*call).prune,
		admission.ExecCreate:        (*call).execCreate,
		admission.ExecStart:         (*call).execStart,
		admission.ExecResize:        (*call).execPass,
		admission.ExecInspect:       (*call).execPass,
		admission.NetworkList:       (*call).networkList,
		admission.NetworkInspect:    (*call).networkInspect,
		admission.NetworkCreate:     (*call).networkCreate,
		admission.NetworkConnect:    (*call).networkConnect,
		admission.NetworkDisconnect: (*call).networkDisconnect,
		admission.NetworkPrune:      (*call).networkPrune,
		admission.NetworkRemove:     (*call).networkRemove,
		admission.VolumeList:        (*call).volumeList,
		admission.VolumeInspect:     (*call).volumeInspect,
		admission.VolumeCreate:      (*call).volumeCreate,
		admission.VolumePrune:       (*call).volumePrune,
		admission.VolumeRemove:      (*call).volumeRemove,
		admission.DiskUsage:         (*call).diskUsage,
		admission.BuildPrune:        (*call).buildPrune,
		admission.ImageBuild:        (*call).build,
		admission.BuildCancel:       (*call).kitCancel,
		admission.BuildSession:      (*call).kitSession,
		admission.BuildControl:      (*call).kitControl,
	}
	return g
}

// Serves reports whether the gateway has code for an operation.
func (g *Gateway) Serves(op admission.Op) bool { return g.serve[op] != nil }

// A call is one request on its way.
type call struct {
	*Gateway
	w       http.ResponseWriter
	r       *http.Request
	match   admission.Match
	who     account.Account
	roles   account.Roles
	version string // API version to speak with the engine
	peer    peer.Peer
	foreign *container.Record // somebody else's container that was asked for
	broke   atomic.Bool       // something panicked on what the client sends, which may be sending yet
}

// ServeHTTP answers one request of the Docker API.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := g.accept(w, r)
	if err == nil {
		err = c.recorded(r.Context(), g.serve[c.match.Op])
	} else {
		c.newEntry().Finish(err, problem.HTTPStatus(err))
	}
	if err == nil || errors.Is(err, errAnswered) {
		return
	}
	if c.broke.Load() {
		c.drain()
	}
	g.refuse(w, r, err)
}

// errAnswered ends a call whose answer has begun already.
var errAnswered = errors.New("answered")

// refuse answers in Docker's own shape.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status := problem.HTTPStatus(err)
	if status == http.StatusInternalServerError && !errors.Is(err, context.Canceled) { // a client that hung up is no failure
		g.Log.WarnContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	if v := g.API(); v != "" {
		w.Header().Set("Api-Version", v)
	}
	answer(w, status, problem.OneLine(err))
}

func answer(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message}) // a client that went needs no answer
}

// accept finds out who asks for what. The call is never nil.
func (g *Gateway) accept(w http.ResponseWriter, r *http.Request) (*call, error) {
	c := &call{Gateway: g, w: w, r: r}
	p, err := peer.FromContext(r.Context())
	if err != nil {
		c.peer, _ = peer.Refused(err)
		return c, err
	}
	c.peer = p
	if c.who, err = g.lookup(p.UID); err != nil {
		return c, err
	}
	if p.Through != "" {
		c.peer.GID = c.who.GID // the process has another one in its container
	}
	if c.roles = g.rolesOf(p, c.who); !c.roles.Docker {
		return c, &problem.Error{
			What: "Docker is not open to " + c.who.Name,
			Why:  problem.Because(problem.ErrDenied, "the account isn't in the group for container users"),
			Next: "Ask your administrators to add you; 'ds01 doctor' shows which group.",
		}
	}
	return c, c.route()
}

// rolesOf returns what who may do at this end of the connection: a container
// that speaks for them never administers.
func (g *Gateway) rolesOf(p peer.Peer, who account.Account) account.Roles {
	roles := g.Roles(who)
	roles.Admin = roles.Admin && p.Through == ""
	return roles
}

// lookup finds the account of a peer.
func (g *Gateway) lookup(uid int) (account.Account, error) {
	who, err := g.Accounts.Lookup(uid)
	if err != nil {
		return who, &problem.Error{
			What: "Who are you?", Why: problem.Because(problem.ErrDenied, "uid "+strconv.Itoa(uid)+" has no account on this host"),
			Next: "Log in with your own account.",
		}
	}
	return who, nil
}

// route finds out what is asked for.
func (c *call) route() (err error) {
	if err := checkTransport(c.r); err != nil {
		return err
	}
	if c.match, err = c.table.Match(c.r.Method, c.r.URL.EscapedPath(), c.r.URL.RawQuery); err != nil {
		return err
	}
	return c.negotiate()
}

// checkTransport refuses requests that two parsers could read in two ways.
func checkTransport(r *http.Request) error {
	refuse := func(why string) error {
		return &problem.Error{What: "Request refused", Why: problem.Because(problem.ErrInvalid, why), Next: "Use a Docker client."}
	}
	if !strings.HasPrefix(r.RequestURI, "/") || strings.HasPrefix(r.RequestURI, "//") {
		return refuse("the request line names a host")
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") || strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		return refuse("forms are not read")
	}
	if u := r.Header.Get("Upgrade"); u != "" && !strings.EqualFold(u, "tcp") && (u != http2 || !speaksHTTP2(r.URL.Path)) {
		return refuse("connections can't be upgraded to " + u)
	}
	return nil
}

// negotiate settles the API version: the client's, if the engine speaks it.
func (c *call) negotiate() error {
	newest := c.API()
	c.version = c.match.Version
	if c.version == "" {
		c.version = newest
		return nil
	}
	if newest != "" && minor(c.version) > minor(newest) {
		return &problem.Error{
			What: "client version " + c.version + " is too new",
			Why:  problem.Because(problem.ErrInvalid, "Maximum supported API version is "+newest),
			Next: "Set DOCKER_API_VERSION=" + newest + ".",
		}
	}
	return nil
}

func minor(version string) int {
	_, m, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(m)
	if err != nil {
		return 0
	}
	return n
}

// person is who asks, to the curator of images.
func (c *call) person() curator.Person {
	return curator.Person{UID: c.who.UID, Admin: c.roles.Admin}
}

// own returns the record that the route's {id} means to the caller.
func (c *call) own() (container.Record, error) {
	record, err := c.find(c.match.Param)
	if err != nil {
		return record, err
	}
	if record.ContainerID == "" {
		return record, &problem.Error{
			What: "No such container: " + c.match.Param,
			Why:  problem.Because(problem.ErrNotFound, "it is still being created"), Next: "Try again in a moment.",
		}
	}
	return record, nil
}

func (c *call) find(reference string) (container.Record, error) {
	record, err := c.Ledger.Find(c.who.UID, reference)
	if err != nil {
		other, oerr := c.Ledger.FindAny(c.who.UID, reference)
		if oerr == nil {
			c.foreign = &other
		}
		if c.roles.Admin {
			record, err = other, oerr
		}
	}
	c.note(record)
	return record, err
}

// body reads the request's body whole, within the limit.
func (c *call) body() ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, admission.MaxBody+1))
	if err != nil {
		return nil, &problem.Error{What: "Request not read", Why: problem.Because(problem.ErrInvalid, err.Error())}
	}
	return data, nil
}
