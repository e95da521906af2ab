// Package api serves the daemon's own API on its unix socket: what the ds01
// commands need beyond the Docker API. Authority stands in the route table,
// not in the handlers.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/enforcer"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/lookout"
	"ds01.dev/ds01/internal/peer"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/reconciler"
	"ds01.dev/ds01/internal/recorder"
	"ds01.dev/ds01/internal/safety"
	"ds01.dev/ds01/internal/sampler"
	"ds01.dev/ds01/internal/steward"
	"ds01.dev/ds01/internal/warden"
)

// Accounts looks people up.
type Accounts interface {
	Lookup(uid int) (account.Account, error)
	LookupName(name string) (account.Account, error)
	All(ctx context.Context) ([]account.Account, error)
}

// Engine is asked for what the ledger doesn't know.
type Engine interface {
	Stop(ctx context.Context, id string, timeout time.Duration) error
	Remove(ctx context.Context, id string, force bool) error
	Size(ctx context.Context, id string) (quantity.ByteSize, error) // that it has written beyond its image
	Image(ctx context.Context, reference string) (container.Image, error)
}

// A Sample is what a control group has used so far and holds now.
type Sample struct {
	CPUNanos    int64
	MemoryBytes int64
	MemoryLimit int64 // 0: none
	Pids        int64
}

// Usage reads control groups.
type Usage interface {
	Container(uid int, id string) (Sample, error) // one container's
	Person(uid int) (Sample, error)               // a person's, over all containers
}

// Simulator sets what simulated devices report.
type Simulator interface {
	Simulate(ctx context.Context, uuid string, r apitype.SimReading) error
}

// Cards knows the cards of the host and changes what they are cut into.
type Cards interface {
	// Look returns the host as it is now.
	Look(ctx context.Context) (gpu.Host, error)
	// Apply makes the cards as the layout declares: ready says which steps are
	// carried out, told hears of each that is done.
	Apply(ctx context.Context, l gpu.Layout, ready func([]gpu.CardPlan) ([]gpu.Step, error), told func(gpu.Step)) error
}

// State is what the daemon knows of itself.
type State struct {
	Version       string
	Engine        container.EngineInfo // zero while the engine was never reached
	EngineUp      bool
	CgroupVersion int
	GPUProvider   string
	MIGMode       gpu.MIGMode // "" counts as static
	Libraries     string      // how driver libraries get into containers
	DefaultImage  string
	Groups        account.RoleGroups
	LimitsProblem string          // why the limits file on disk isn't in force, "" = it is
	PolicyRules   int             // rules of the site's policy in force
	PolicyProblem string          // why the rules on disk aren't in force, "" = they are
	PolicyStays   bool            // then others are
	AuditProblem  string          // why the audit log can't be written, "" = it can
	Space         container.Space // on the engine's disk
	MailHook      string          // the program that sends mail, "" = nobody gets any
	MailProblem   string          // why the last one wasn't sent, "" = it was
	Gaps          []sampler.Gap   // what isn't told of what containers do
	Warnings      []string

	LibrariesProblem error // why no GPU is granted with them, nil = they come
}

// Parts are what the API works with.
type Parts struct {
	Accounts   Accounts
	Engine     Engine
	Images     *curator.Curator
	Ledger     *allocator.Allocator
	Launcher   *launcher.Launcher
	Reconciler *reconciler.Reconciler
	Enforcer   *enforcer.Enforcer // nil: nothing is deferred
	Lookout    *lookout.Lookout   // nil: nothing was seen
	Warden     *warden.Warden
	Steward    *steward.Steward
	Usage      Usage
	Cards      Cards
	Simulator  Simulator // nil without simulated devices
	Recipes    admission.Syntax
	Bases      func(ctx context.Context, dockerfile []byte, attributes map[string]string) ([]string, error) // of a build by BuildKit
	Devices    func() []gpu.Device
	Readings   func(ctx context.Context) (map[string]gpu.Reading, error)
	Document   func() *limits.Document // in force
	Members    func() (map[string]limits.File, error)
	Limits     func(account.Account) limits.Limits
	State      func() State
	Orphans    Orphans            // nil: nobody looks for them
	Origins    *peer.Origins      // nil: nobody knows where requests come from
	Recorder   *recorder.Recorder // nil: nothing is written down
	Audit      Audit
	Facts      func(ctx context.Context) safety.Facts // of the host; nil where nobody looks
	Log        *slog.Logger
	Now        func() time.Time
	Host       string
}

// API is an http.Handler. It is safe for concurrent use.
type API struct {
	Parts
	mux *http.ServeMux
}

// An Access is who may use a route.
type Access int

// Access to a route. Its zero value is nobody's.
const (
	_       Access = iota
	Anybody        // every account of the host
	Users          // who may use containers
	Admins
)

// A Route is one row of the API.
type Route struct {
	Method, Path string
	Access       Access
	Handle       func(*call) error
}

// Routes returns the table of routes.
func Routes() []Route {
	return []Route{
		{"GET", "/v1/version", Anybody, (*call).version},
		{"GET", "/v1/me", Anybody, (*call).me},
		{"GET", "/v1/doctor", Anybody, (*call).doctor},
		{"POST", "/v1/doctor/fix", Admins, (*call).fix},
		{"GET", "/v1/gpus", Users, (*call).gpus},
		{"GET", "/v1/gpus/why", Users, (*call).gpusWhy},
		{"GET", "/v1/gpus/cutting", Users, (*call).cutting},
		{"POST", "/v1/gpus/{uuid}/sim", Admins, (*call).simulate},
		{"GET", "/v1/mig", Admins, (*call).mig},
		{"POST", "/v1/mig/plan", Admins, (*call).planMIG},
		{"POST", "/v1/mig/apply", Admins, (*call).applyMIG},
		{"POST", "/v1/gpus/{uuid}/drain", Admins, (*call).drain},
		{"DELETE", "/v1/gpus/{uuid}/drain", Admins, (*call).undrain},
		{"GET", "/v1/queue", Users, (*call).queue},
		{"POST", "/v1/queue", Users, (*call).joinQueue},
		{"GET", "/v1/queue/{id}", Users, (*call).queuePlace},
		{"DELETE", "/v1/queue/{id}", Users, (*call).leaveQueue},
		{"GET", "/v1/reservations", Users, (*call).reservations},
		{"POST", "/v1/reservations", Admins, (*call).reserve},
		{"DELETE", "/v1/reservations/{id}", Admins, (*call).unreserve},
		{"GET", "/v1/containers", Users, (*call).containers},
		{"POST", "/v1/containers", Users, (*call).create},
		{"GET", "/v1/containers/{name}", Users, (*call).container},
		{"POST", "/v1/containers/{name}/start", Users, (*call).start},
		{"POST", "/v1/containers/{name}/stop", Users, (*call).stop},
		{"POST", "/v1/containers/{name}/update", Users, (*call).update},
		{"POST", "/v1/containers/{name}/pause", Users, (*call).pause},
		{"POST", "/v1/containers/{name}/unpause", Users, (*call).unpause},
		{"POST", "/v1/containers/{name}/rename", Users, (*call).rename},
		{"POST", "/v1/containers/{name}/gpus/add", Users, (*call).addGPUs},
		{"POST", "/v1/containers/{name}/gpus/release", Users, (*call).releaseGPUs},
		{"POST", "/v1/containers/{name}/extend", Users, (*call).extend},
		{"POST", "/v1/containers/{name}/keep", Users, (*call).keep},
		{"DELETE", "/v1/containers/{name}/keep", Users, (*call).unkeep},
		{"POST", "/v1/containers/{name}/protect", Admins, (*call).protect},
		{"DELETE", "/v1/containers/{name}/protect", Admins, (*call).unprotect},
		{"GET", "/v1/exemptions", Admins, (*call).exemptions},
		{"POST", "/v1/exemptions", Admins, (*call).exempt},
		{"DELETE", "/v1/exemptions/{user}", Admins, (*call).unexempt},
		{"DELETE", "/v1/containers/{name}", Users, (*call).remove},
		{"POST", "/v1/containers/{name}/adopt", Admins, (*call).adopt},
		{"GET", "/v1/images", Users, (*call).images},
		{"DELETE", "/v1/images", Users, (*call).removeImage},
		{"POST", "/v1/images/share", Users, (*call).shareImage},
		{"POST", "/v1/images/unshare", Users, (*call).unshareImage},
		{"GET", "/v1/stats", Users, (*call).stats},
		{"GET", "/v1/limits", Users, (*call).limits},
		{"POST", "/v1/limits/diff", Admins, (*call).limitsDiff},
		{"POST", "/v1/policy/eval", Users, (*call).policyEval},
		{"GET", "/v1/dashboard", Users, (*call).dashboard},
		{"GET", "/v1/audit", Admins, (*call).audit},
	}
}

// New returns the API of these parts.
func New(p Parts) *API {
	a := &API{Parts: p, mux: http.NewServeMux()}
	for _, route := range Routes() {
		a.mux.HandleFunc(route.Method+" "+route.Path, func(w http.ResponseWriter, r *http.Request) { a.handle(w, r, route) })
	}
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answerProblem(w, &problem.Error{What: r.Method + " " + r.URL.Path, Why: problem.Because(problem.ErrNotFound, "there is no such route"), Next: "Is the ds01 command as new as the daemon?"})
	})
	return a
}

// ServeHTTP answers one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// A call is one request on its way: who asks, and for whom.
type call struct {
	*API
	w     http.ResponseWriter
	r     *http.Request
	who   account.Account // the caller
	roles account.Roles   // the caller's
	owner account.Account // whom it is for: the caller, or another for admins
	peer  peer.Peer
	entry *recorder.Entry

	streams bool // an answer has begun that goes on
}

func (a *API) handle(w http.ResponseWriter, r *http.Request, route Route) {
	c := &call{API: a, w: w, r: r}
	err := c.recorded(r.Context(), route)
	if err == nil {
		return
	}
	if problem.HTTPStatus(err) == http.StatusInternalServerError && !errors.Is(err, context.Canceled) { // a client that hung up is no failure
		a.Log.WarnContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	if c.streams {
		doc := problem.Describe(err)
		c.tell(apitype.MIGProgress{Error: &doc})
		return
	}
	answerProblem(w, err)
}

// identify finds out who asks and whether the route is open to them.
func (c *call) identify(ctx context.Context, access Access) error {
	p, err := peer.FromContext(ctx)
	if err != nil {
		c.peer, _ = peer.Refused(err)
		return err
	}
	c.peer = p
	if c.who, err = c.Accounts.Lookup(p.UID); err != nil {
		return &problem.Error{What: "Who are you?", Why: problem.Because(problem.ErrDenied, "uid "+strconv.Itoa(p.UID)+" has no account on this host"), Next: "Log in with your own account."}
	}
	groups := c.State().Groups
	c.roles, c.owner = account.RolesOf(c.who, groups), c.who
	allowed := access == Anybody || access == Users && c.roles.Docker || access == Admins && c.roles.Admin
	if !allowed {
		group := groups.Docker
		if access == Admins {
			group = groups.Admin
		}
		return &problem.Error{
			What: "Not open to " + c.who.Name,
			Why:  problem.Because(problem.ErrDenied, "the account isn't in the group "+group),
			Next: "Ask your administrators; 'ds01 doctor' shows what is missing.",
		}
	}
	return c.actFor(ctx, c.r.URL.Query().Get("user"))
}

// actFor lets an administrator act for somebody else.
func (c *call) actFor(ctx context.Context, name string) error {
	if name == "" || name == c.who.Name {
		return nil
	}
	if !c.roles.Admin {
		return &problem.Error{What: "Not for " + name, Why: problem.Because(problem.ErrDenied, "only administrators act for others"), Next: "Leave --user away."}
	}
	owner, err := c.Accounts.LookupName(name)
	if err != nil {
		return &problem.Error{What: "No user " + name, Why: problem.Because(problem.ErrNotFound, "the host knows no account of that name")}
	}
	c.Log.InfoContext(ctx, "administrator acts for another", "admin", c.who.Name, "user", name, "method", c.r.Method, "path", c.r.URL.Path)
	c.owner = owner
	return nil
}

func answerProblem(w http.ResponseWriter, err error) {
	doc := problem.Describe(err)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(doc.Status)
	_ = json.NewEncoder(w).Encode(doc) // a client that went needs no answer
}

// answer sends v, or nothing where v is nil.
func (c *call) answer(v any) error {
	if v == nil {
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	c.w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(c.w).Encode(v) // a client that went needs no answer
	return nil
}

// maxBody is the largest request body, in bytes: a limits file fits.
const maxBody = 4 << 20

// read decodes the request's body; an absent one leaves v as it is.
func (c *call) read(v any) error {
	data, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	if err == nil && len(data) > 0 {
		// Strictly: unknown, repeated and differently spelt keys are errors.
		err = jsonv2.Unmarshal(data, v, jsonv2.RejectUnknownMembers(true))
	}
	if err != nil {
		return &problem.Error{What: "Request not understood", Why: problem.Because(problem.ErrInvalid, err.Error()), Next: "Is the ds01 command as new as the daemon?"}
	}
	return nil
}
