// Package clienttest is a daemon in memory: the API and the streams that the
// client and the CLI use, on a real unix socket, without an engine. It keeps
// containers and decides nothing a test has not told it.
package clienttest

import (
	"cmp"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// Fake is what the daemon in memory knows. Set its fields before Start; read
// them afterwards through its methods.
type Fake struct {
	Me        apitype.Me
	Version   apitype.Version
	Doctor    apitype.Doctor
	GPUs      []apitype.GPU
	Why       map[string]apitype.GPUWhy // by container or request, "" for no request
	Stats     []apitype.Stats
	Limits    []apitype.UserLimits
	Changes   []apitype.LimitChange
	Dashboard apitype.Dashboard
	Images    []apitype.Image
	Queue     []apitype.QueuePlace // who asks for a place waits behind them
	Reserved  []apitype.Reservation
	Exempted  []apitype.Exemption
	Cutting   apitype.Cutting
	MIG       apitype.MIG
	MIGPlan   apitype.MIGPlan      // of every layout
	Broken    error                // how the last step of a layout fails; nil: it doesn't
	Stalls    chan struct{}        // each step of a layout is followed by a wait for it; nil: none
	Full      string               // the container that is made only once its maker had their turn in the queue
	Archive   string               // what every saved archive is
	Logs      map[string][2]string // stdout and stderr by container name
	TTY       map[string]bool      // containers with a terminal, by name

	// Fail makes "METHOD /path" fail.
	Fail map[string]error
	// Run is the program behind every exec; nil answers exit code 0.
	Run func(p *Process) int
	// Before runs at the start of each request that is not a stream.
	Before func(method, path string)

	mu         sync.Mutex
	containers []apitype.Container
	requests   []string
	sims       map[string]apitype.SimReading
	processes  map[string]*Process
	updates    map[string]apitype.UpdateContainer
	files      map[string][]byte // by "container:/path"
	layouts    []apitype.LayoutFile
}

// Start serves f on a socket of its own until the test ends and returns the
// address for client.New.
func Start(t testing.TB, f *Fake) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ds01t") //nolint:usetesting // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "ds01.sock")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: f.handler(), ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
		_ = os.RemoveAll(dir)
	})
	return "unix://" + socket
}

// Add puts a container there.
func (f *Fake) Add(c apitype.Container) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.containers = append(f.containers, c)
}

// Containers returns the containers that exist.
func (f *Fake) Containers() []apitype.Container {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.containers)
}

// Requests returns every request so far as "METHOD /path?query".
func (f *Fake) Requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

// Sim returns what a simulated device was told to report.
func (f *Fake) Sim(uuid string) apitype.SimReading {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sims[uuid]
}

// Update returns what a container was last told to become.
func (f *Fake) Update(name string) apitype.UpdateContainer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.updates[name]
}

func (f *Fake) handler() http.Handler {
	mux := http.NewServeMux()
	f.routes(mux)
	f.streams(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.requests = append(f.requests, r.Method+" "+r.URL.RequestURI())
		f.mu.Unlock()
		if f.Before != nil {
			f.Before(r.Method, r.URL.Path)
		}
		if err := f.Fail[r.Method+" "+r.URL.Path]; err != nil {
			if strings.HasPrefix(r.URL.Path, "/docker/") {
				dockerError(w, err)
			} else {
				apiError(w, err)
			}
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// fix takes away what may be, of administrators only.
func (f *Fake) fix(w http.ResponseWriter, r *http.Request) {
	if !f.Me.Admin {
		apiError(w, &problem.Error{What: "Not open to " + f.Me.User, Why: problem.Because(problem.ErrDenied, "the account isn't in the group ds-admin")})
		return
	}
	var want apitype.Fix
	_ = json.NewDecoder(r.Body).Decode(&want) // of this program's own client
	done := []apitype.Fixed{}
	for _, o := range want.Orphans {
		f.Doctor.Orphans = slices.DeleteFunc(f.Doctor.Orphans, func(left apitype.Orphan) bool { return left.Kind == o.Kind && left.Object == o.Object })
		done = append(done, apitype.Fixed{Kind: o.Kind, Object: o.Object})
	}
	reply(w, done)
}

func (f *Fake) routes(mux *http.ServeMux) {
	value := func(pattern string, v func() any) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { reply(w, v()) })
	}
	value("GET /v1/me", func() any { return f.Me })
	value("GET /v1/version", func() any { return f.Version })
	value("GET /v1/doctor", func() any { return f.Doctor })
	mux.HandleFunc("POST /v1/doctor/fix", f.fix)
	value("GET /v1/gpus", func() any { return f.GPUs })
	mux.HandleFunc("GET /v1/gpus/why", f.why)
	value("GET /v1/gpus/cutting", func() any { return f.Cutting })
	value("GET /v1/stats", func() any { return f.Stats })
	value("GET /v1/limits", func() any { return f.Limits })
	value("POST /v1/limits/diff", func() any { return f.Changes })
	value("GET /v1/dashboard", func() any { return f.Dashboard })
	value("GET /v1/mig", func() any { return f.MIG })
	mux.HandleFunc("POST /v1/mig/plan", f.planMIG)
	mux.HandleFunc("POST /v1/mig/apply", f.applyMIG)
	value("GET /v1/queue", func() any { return f.places() })
	mux.HandleFunc("POST /v1/queue", f.joinQueue)
	mux.HandleFunc("GET /v1/queue/{id}", f.queuePlace)
	mux.HandleFunc("DELETE /v1/queue/{id}", f.leaveQueue)
	value("GET /v1/reservations", func() any { return f.Reserved })
	mux.HandleFunc("POST /v1/reservations", f.reserve)
	mux.HandleFunc("DELETE /v1/reservations/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	value("GET /v1/containers", func() any { return f.Containers() })
	value("GET /v1/images", func() any { return f.images() })
	mux.HandleFunc("DELETE /v1/images", f.removeImage)
	mux.HandleFunc("POST /v1/images/share", f.shareImage(true))
	mux.HandleFunc("POST /v1/images/unshare", f.shareImage(false))
	mux.HandleFunc("POST /v1/gpus/{uuid}/sim", f.setSim)
	mux.HandleFunc("POST /v1/gpus/{uuid}/drain", f.drain)
	mux.HandleFunc("DELETE /v1/gpus/{uuid}/drain", f.drain)
	mux.HandleFunc("POST /v1/containers", f.create)
	mux.HandleFunc("GET /v1/containers/{name}", f.change(func(*apitype.Container) {}))
	mux.HandleFunc("POST /v1/containers/{name}/start", f.change(func(c *apitype.Container) {
		c.State, c.ClaimState, c.HeldUntil = apitype.StateRunning, "running", nil
	}))
	mux.HandleFunc("POST /v1/containers/{name}/stop", f.change(func(c *apitype.Container) {
		until := c.CreatedAt.Add(time.Hour)
		c.State, c.ClaimState, c.HeldUntil = apitype.StateExited, "held", &until
	}))
	mux.HandleFunc("POST /v1/containers/{name}/pause", f.change(func(c *apitype.Container) { c.State = "paused" }))
	mux.HandleFunc("POST /v1/containers/{name}/unpause", f.change(func(c *apitype.Container) { c.State = apitype.StateRunning }))
	mux.HandleFunc("POST /v1/containers/{name}/gpus/add", f.addGPUs)
	mux.HandleFunc("POST /v1/containers/{name}/gpus/release", f.releaseGPUs)
	mux.HandleFunc("POST /v1/containers/{name}/rename", f.rename)
	mux.HandleFunc("POST /v1/containers/{name}/adopt", f.adopt)
	mux.HandleFunc("POST /v1/containers/{name}/update", f.update)
	f.times(mux)
	mux.HandleFunc("DELETE /v1/containers/{name}", f.remove)
}

// addGPUs gives a container what is asked for, whoever holds it.
func (f *Fake) addGPUs(w http.ResponseWriter, r *http.Request) {
	var ask apitype.AddGPUs
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		apiError(w, err)
		return
	}
	more, err := f.grant(apitype.CreateContainer{Wanted: ask.Request})
	if err != nil {
		apiError(w, err)
		return
	}
	f.change(func(c *apitype.Container) { c.GPUs = append(slices.Clone(c.GPUs), more...) })(w, r)
}

// releaseGPUs takes GPUs away; a container that runs has them open.
func (f *Fake) releaseGPUs(w http.ResponseWriter, r *http.Request) {
	var ask apitype.ReleaseGPUs
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		apiError(w, err)
		return
	}
	f.mu.Lock()
	at := f.index(r.PathValue("name"))
	open := at >= 0 && f.containers[at].State == apitype.StateRunning && !ask.Force
	f.mu.Unlock()
	if open {
		apiError(w, &problem.Error{
			What: "GPU not released", Why: problem.Because(problem.ErrConflict, "it is open: python (process 42)"), Next: "End it, or: --force.", Code: "DEVICE_IN_USE",
		})
		return
	}
	f.change(func(c *apitype.Container) {
		c.GPUs = slices.DeleteFunc(slices.Clone(c.GPUs), func(g apitype.GPUGrant) bool {
			return len(ask.Devices) == 0 || slices.Contains(ask.Devices, g.Slot) || slices.Contains(ask.Devices, g.UUID)
		})
	})(w, r)
}

func (f *Fake) setSim(w http.ResponseWriter, r *http.Request) {
	var reading apitype.SimReading
	if err := json.NewDecoder(r.Body).Decode(&reading); err != nil {
		apiError(w, err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sims == nil {
		f.sims = map[string]apitype.SimReading{}
	}
	f.sims[r.PathValue("uuid")] = reading
	w.WriteHeader(http.StatusNoContent)
}

// drain answers for a card as if alice's train were on it.
func (f *Fake) drain(w http.ResponseWriter, r *http.Request) {
	var ask apitype.Drain
	if r.Method == http.MethodPost {
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
			apiError(w, err)
			return
		}
	}
	i := slices.IndexFunc(f.GPUs, func(g apitype.GPU) bool { return g.UUID == r.PathValue("uuid") || g.Slot == r.PathValue("uuid") })
	if i < 0 {
		apiError(w, missing(r.PathValue("uuid")))
		return
	}
	reply(w, apitype.Card{
		UUID: f.GPUs[i].UUID, Card: f.GPUs[i].Card, Model: f.GPUs[i].Model, Drained: r.Method == http.MethodPost, Reason: ask.Reason,
		By: f.Me.User, Holders: []string{"alice (train) on 1"},
	})
}

func (f *Fake) create(w http.ResponseWriter, r *http.Request) {
	var ask apitype.CreateContainer
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		apiError(w, err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Full != "" && f.Full == ask.Name {
		apiError(w, &problem.Error{
			What: "GPU not granted", Why: problem.Because(problem.ErrExhausted, "free now: 0"), Next: "Wait.", Code: "NO_GPU_AVAILABLE",
		})
		return
	}
	if f.index(ask.Name) >= 0 {
		apiError(w, &problem.Error{
			What: "container " + ask.Name + " not created",
			Why:  problem.Because(problem.ErrConflict, "you have a container of that name"),
			Next: "Choose another name.",
		})
		return
	}
	c := apitype.Container{
		ID: "id-" + ask.Name, Name: ask.Name, EngineName: ask.Name + "._.1000", User: f.Me.User, UID: f.Me.UID,
		Image: ask.Image, State: apitype.StateCreated, Interface: ask.Interface, ClaimState: "bound",
		Workspace: ask.Workspace, CreatedAt: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), GPUs: []apitype.GPUGrant{},
		RestartPolicy: cmp.Or(ask.Restart, "no"),
	}
	if c.Image == "" {
		c.Image = f.Version.DefaultImage
	}
	granted, err := f.grant(ask)
	if err != nil {
		apiError(w, err)
		return
	}
	c.GPUs = append(c.GPUs, granted...)
	f.containers = append(f.containers, c)
	reply(w, c)
}

// why answers with what is set, by the container or the request asked about.
func (f *Fake) why(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	f.mu.Lock()
	defer f.mu.Unlock()
	if name != "" && f.index(name) < 0 {
		apiError(w, missing(name))
		return
	}
	reply(w, f.Why[cmp.Or(name, r.URL.Query().Get("gpus"))])
}

// grant chooses among all devices, as if nobody held one.
func (f *Fake) grant(ask apitype.CreateContainer) (out []apitype.GPUGrant, err error) {
	for _, g := range f.GPUs[:min(ask.GPUs, len(f.GPUs))] {
		out = append(out, apitype.GPUGrant{UUID: g.UUID, Slot: g.Slot, Profile: g.Profile, Model: g.Model})
	}
	if ask.Wanted == "" {
		return out, nil
	}
	want, err := gpu.ParseRequest(ask.Wanted)
	if err != nil {
		return nil, err
	}
	var devices []gpu.Device
	for _, g := range f.GPUs {
		devices = append(devices, gpu.Device{UUID: g.UUID, Slot: g.Slot, Profile: g.Profile, Model: g.Model, MemoryBytes: g.MemoryBytes})
	}
	quota := gpu.Quota{
		MaxDevices: quantity.None[int](), MaxPerContainer: quantity.None[int](), MaxShare: quantity.None[quantity.GPUShare](), AllowFull: true,
	}
	chosen, err := gpu.Allocate(gpu.Pool{Devices: devices}, f.Me.UID, want, quota)
	for _, d := range chosen {
		out = append(out, apitype.GPUGrant{UUID: d.UUID, Slot: d.Slot, Profile: d.Profile, Model: d.Model})
	}
	return out, err
}

// change answers a route about one container after doing something to it.
func (f *Fake) change(do func(*apitype.Container)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		i := f.index(r.PathValue("name"))
		if i < 0 {
			apiError(w, missing(r.PathValue("name")))
			return
		}
		do(&f.containers[i])
		reply(w, f.containers[i])
	}
}

func (f *Fake) rename(w http.ResponseWriter, r *http.Request) {
	var ask apitype.RenameContainer
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		apiError(w, err)
		return
	}
	f.change(func(c *apitype.Container) { c.Name = ask.Name })(w, r)
}

func (f *Fake) adopt(w http.ResponseWriter, r *http.Request) {
	var ask apitype.Adopt
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		apiError(w, err)
		return
	}
	f.change(func(c *apitype.Container) {
		c.User, c.Quarantined = ask.User, false
		if ask.Name != "" {
			c.Name = ask.Name
		}
	})(w, r)
}

func (f *Fake) update(w http.ResponseWriter, r *http.Request) {
	var ask apitype.UpdateContainer
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		apiError(w, err)
		return
	}
	f.mu.Lock()
	if f.updates == nil {
		f.updates = map[string]apitype.UpdateContainer{}
	}
	f.updates[r.PathValue("name")] = ask
	f.mu.Unlock()
	f.change(func(c *apitype.Container) { c.RestartPolicy = cmp.Or(ask.Restart, c.RestartPolicy, "no") })(w, r)
}

func (f *Fake) remove(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := r.PathValue("name")
	i := f.index(name)
	if i < 0 {
		apiError(w, missing(name))
		return
	}
	if f.containers[i].State == apitype.StateRunning && r.FormValue("force") != "true" {
		apiError(w, &problem.Error{
			What: "container " + name + " not removed",
			Why:  problem.Because(problem.ErrConflict, "it is running"),
			Next: "Stop it first.",
		})
		return
	}
	f.containers = slices.Delete(f.containers, i, i+1)
	w.WriteHeader(http.StatusNoContent)
}

// index finds a container by name or id; the caller holds the lock.
func (f *Fake) index(name string) int {
	return slices.IndexFunc(f.containers, func(c apitype.Container) bool { return c.Name == name || c.ID == name })
}

func missing(name string) error {
	return &problem.Error{
		What: "no container " + name,
		Why:  problem.Because(problem.ErrNotFound, "you have none of that name"),
		Next: "Run 'ds01 container list'.",
	}
}
