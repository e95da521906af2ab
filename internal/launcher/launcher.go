// Package launcher is the one road to a container, whichever door the request
// came by: claim, review, create, bind; and to each start of it: devices,
// limits, mounts, start. It leaves a claim only on a definite refusal.
package launcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/policy"
	"ds01.dev/ds01/internal/port"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/recorder"
	"ds01.dev/ds01/internal/registrar"
)

// Engine makes and runs containers.
type Engine interface {
	Create(ctx context.Context, name, platform string, body []byte) (id string, warnings []string, err error)
	Start(ctx context.Context, id string) error
	Stop(ctx context.Context, id string, timeout time.Duration) error
	Remove(ctx context.Context, id string, force bool) error
	Inspect(ctx context.Context, id string) (container.Observed, error)
	Stored(ctx context.Context, id string) (container.Observed, []byte, error)
	Update(ctx context.Context, id string, body []byte) (warnings []string, err error)
	ReadFile(ctx context.Context, id, name string) ([]byte, error)
	Exists(ctx context.Context, id, name string) (bool, error)
	WriteFiles(ctx context.Context, id string, files []container.File) error
	Pause(ctx context.Context, id string) error
	Unpause(ctx context.Context, id string) error
	Rename(ctx context.Context, id, name string) error
	Reconnect(ctx context.Context, id, network string, aliases []string) error
}

// Mounter opens people's directories with their own rights.
type Mounter interface {
	// Prepare checks that who may mount m.Source, which comes from the root,
	// and makes m.HostPath. Of a door it makes m.HostPath only.
	Prepare(who account.Account, root admission.MountRoot, m container.Mount) error
	// Mount opens m.Source again and puts it at m.HostPath.
	Mount(who account.Account, root admission.MountRoot, m container.Mount) error
	// Cover puts nothing at m.HostPath, of m.Source's kind and read-only. A
	// directory holds the mount points that inside names, for what lies at the
	// paths on the host beside them. In place of a door it is an empty file.
	Cover(who account.Account, root admission.MountRoot, m container.Mount, inside map[string]string) error
	// CoverVolume does so over a volume's directory, until UncoverVolume takes
	// it away.
	CoverVolume(hostPath string, inside map[string]string) error
	// UncoverVolume undoes CoverVolume; what isn't covered is no error.
	UncoverVolume(hostPath string) error
	// Unmount takes m.HostPath away; what isn't there is no error.
	Unmount(hostPath string) error
}

// Doors give containers sockets at which they speak for their owners.
type Doors interface {
	// Open listens for the container, where nobody does yet, and puts the
	// socket at m.HostPath.
	Open(ctx context.Context, record container.Record, m container.Mount) error
	// Close stops listening for the container of a claim; where nobody does is
	// no error.
	Close(ctx context.Context, claim string)
}

// Cgroups keeps the level that carries a person's totals.
type Cgroups interface {
	// Ensure makes the level and returns its name as the engine wants it.
	Ensure(ctx context.Context, uid int, l limits.Limits) (parent string, err error)
	// Parent returns the name that Ensure does, and makes nothing.
	Parent(uid int) string
	// End ends every process of a container below that level.
	End(ctx context.Context, uid int, container string) (ended int, err error)
	// Freeze makes every process of a container stand still.
	Freeze(ctx context.Context, uid int, container string) error
	// Thaw lets them go on; those that do already are no error.
	Thaw(uid int, container string) error
}

// Grants tell the engine's runtime what to give containers when they start.
type Grants interface {
	// Give has the container be given the devices, and nothing else.
	Give(id string, devices []gpu.Device) error
	// Take has it be given none.
	Take(id string) error
	// Given returns the UUIDs of what it is given; nil: nothing was ever said.
	Given(id string) ([]string, error)
}

// Live changes what a running container may open.
type Live interface {
	// Possible says why that can't be done on this host; nil: it can.
	Possible() error
	// Allow lets a container open a node and shows it there.
	Allow(ctx context.Context, uid int, o container.Observed, n gpu.Node) error
	// Lost reports whether it has lost the kernel's rule for a node that it was
	// granted, and whether the node isn't shown any more. Where the kernel doesn't
	// tell of the rule, it counts as kept.
	Lost(uid int, o container.Observed, n gpu.Node) (rule, shown bool, err error)
	// Restore gives it the rule again, so that it stays.
	Restore(ctx context.Context, uid int, o container.Observed, n gpu.Node) error
	// Deny keeps it from opening a node again; what is open stays open.
	Deny(ctx context.Context, uid int, o container.Observed, n gpu.Node) error
	// Hide takes a node out of its file system.
	Hide(uid int, o container.Observed, n gpu.Node) error
	// Openers returns the processes of a container, or where it is "" of all of
	// a person's, that have one of the nodes open, by their numbers.
	Openers(uid int, container string, nodes []gpu.Node) ([]Opener, error)
	// EndOpeners ends them.
	EndOpeners(ctx context.Context, uid int, container string, nodes []gpu.Node) error
}

// An Opener is a process that has a device open.
type Opener struct {
	PID  int    // on the host
	Name string // of its program
}

// Accounts looks people up.
type Accounts interface {
	Lookup(uid int) (account.Account, error)
}

// Parts are what a launcher works with.
type Parts struct {
	Engine    Engine
	Images    *curator.Curator
	Ledger    *allocator.Allocator
	Registrar *registrar.Registrar
	Mounter   Mounter
	Doors     Doors  // nil: the site gives none
	Gateway   string // path of the gateway's socket, which means a door where it is mounted
	Cgroups   Cgroups
	Accounts  Accounts
	Limits    func(account.Account) limits.Limits // resolved and clamped to the host
	Type      func(kind string) limits.Type       // what bounds containers of a kind; nil: nothing
	Devices   func() []gpu.Device
	Isolation func() admission.Isolation // "" while the engine was never reached
	Libraries func() (string, error)     // admission.LibrariesNone, …; an error keeps GPUs from being granted
	Runtime   func() string              // the engine's own, "" while unknown; nil: runc
	AtStart   func() bool                // the engine has admission.AtStartRuntime; nil: it hasn't
	Grants    Grants                     // nil where it hasn't
	Live      Live                       // nil: what runs is left alone
	Space     func() container.Space     // on the engine's disk; nil: it isn't looked at
	Started   func(container.Observed)   // told, under its lock, of what was started, whose process it doesn't know; nil: nobody is
	Log       *slog.Logger
	Now       func() time.Time

	Policy func() Rules                        // the site's own rules; nil, and what returns nil: there are none
	Roles  func(account.Account) account.Roles // nil: nobody administers

	// Rates holds a container that runs to its owner's rates of disks, on those
	// that folders lie on beside the engine's; nil: nothing does.
	Rates func(uid int, id string, folders []string, l limits.Limits) error

	// Spare has the kernel take back what a running container can do without,
	// down to a limit that it is to have, and returns the least limit at which
	// nothing in it would be ended; nil: any limit is.
	Spare func(uid int, id string, to quantity.ByteSize) (least quantity.ByteSize, err error)

	MountFolder string // root-owned folder below which mounts are made
	NodeFolder  string // folder of the device nodes

	// Roots returns from where a person may mount, with links followed; nil:
	// admission.MountRoots, which follows none.
	Roots func(account.Account, limits.Limits) []admission.MountRoot
	// Mappable reports whether the file system of a mount can map ids; nil: all can.
	Mappable func(account.Account, admission.MountRoot, container.Mount) (bool, error)
}

// Launcher makes and starts containers. It is safe for concurrent use.
type Launcher struct {
	Parts
	copies copies // for these the container stands still
	holds  copies // for these it may run
	covers covers
	builds builds
}

// New returns a launcher of these parts.
func New(p Parts) *Launcher {
	if p.Space == nil {
		p.Space = func() container.Space { return container.Space{} }
	}
	if p.Roots == nil {
		p.Roots = admission.MountRoots
	}
	if p.Mappable == nil {
		p.Mappable = func(account.Account, admission.MountRoot, container.Mount) (bool, error) { return true, nil }
	}
	if p.AtStart == nil {
		p.AtStart = func() bool { return false }
	}
	if p.Policy == nil {
		p.Policy = func() Rules { return nil }
	}
	if p.Roles == nil {
		p.Roles = func(account.Account) account.Roles { return account.Roles{} }
	}
	return &Launcher{Parts: p}
}

// A Request is one container wanted by one person.
type Request struct {
	Account   account.Account
	Roles     account.Roles
	Name      string // as the owner calls it, valid
	Interface string // label.Docker, …
	Origin    string // label.Terminal, …; "": unknown
	Platform  string
	Body      admission.Create
	Subpaths  bool          // the engine mounts parts of volumes
	Lasts     time.Duration // as container.Record has it
	Person    bool          // run as the owner, with a passwd entry and a home: `container create`

	trial  bool // nothing is changed for it
	recall bool // the image may be the one that was meant last, while that is asked again
}

// callTimeout bounds one call to the engine. Calls go on when the client has
// hung up: half a create is worse than a whole one.
const callTimeout = 2 * time.Minute

func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
}

// Create claims, reviews, creates and binds one container. On an error there
// is no container, unless the engine's answer was lost: then the claim stays
// until the reconciler knows.
func (l *Launcher) Create(ctx context.Context, r Request) (container.Record, []string, error) {
	ctx, cancel := detached(ctx)
	defer cancel()
	r.recall = true
	record, warnings, err := l.createOnce(ctx, r)
	if errors.Is(err, errAnotherImage) {
		r.recall = false
		record, warnings, err = l.createOnce(ctx, r)
	}
	return record, warnings, err
}

// createOnce is Create, which may end with errAnotherImage where r.recall is set.
func (l *Launcher) createOnce(ctx context.Context, r Request) (_ container.Record, _ []string, err error) {
	p, err := l.plan(ctx, r)
	defer func() {
		if err != nil && !errors.Is(err, problem.ErrUnavailable) {
			err = cmp.Or(p.confirmed(), err) // it may be due to the image
		}
	}()
	if err != nil {
		return container.Record{}, nil, err
	}
	r = p.request
	defer l.lockVolumes(p.grant)()
	if err := l.refuseWhileCovered("Container "+r.Name+" not created", r.Account.UID, engineNames(p.grant.Volumes)); err != nil {
		return container.Record{}, nil, err
	}
	record, devices, err := l.Ledger.Claim(ctx, l.order(p))
	if err != nil {
		return container.Record{}, nil, err
	}
	defer l.Ledger.Lock(record.ID)()
	recorder.Note(ctx, func(e *event.Event) { e.Claim, e.Devices = record.ID, record.Slots() })
	var disk errgroup.Group // beside the engine's work: nobody hears of the container before both are done
	disk.Go(l.Ledger.Flush)
	p.claimed(record, devices)
	p.ask.Notes = append(p.ask.Notes, l.Ledger.Advise(l.order(p), devices)...)
	if record.Lasts != r.Lasts {
		p.ask.Notes = append(p.ask.Notes, "its GPU was kept for something that ends within "+quantity.FormatDuration(record.Lasts)+": it is stopped then")
	}
	record, warnings, err := l.create(ctx, p, record)
	unwritten := disk.Wait()
	if err != nil {
		return container.Record{}, nil, l.abandon(ctx, record, err)
	}
	if err := cmp.Or(unwritten, p.confirmed()); err != nil {
		return container.Record{}, nil, l.undo(ctx, record, err)
	}
	if err := l.complete(ctx, r, &record, p.user, p.grant); err != nil {
		return container.Record{}, nil, l.undo(ctx, record, err)
	}
	if err := l.bind(ctx, &record); err != nil {
		return container.Record{}, nil, l.abandon(ctx, record, err)
	}
	return record, append(warnings, p.ask.Notes...), nil
}

// A plan is a request with everything that is decided before devices are
// claimed for it.
type plan struct {
	request Request
	wanted  string // the image as it was asked for
	ask     admission.Ask
	subject admission.Subject
	mounts  mounts
	user    containerUser
	ports   port.Policy
	facts   policy.Facts
	grant   admission.Grant
	confirm func() error // nil: the image is certain
}

// confirmed returns nil once it is known that the image is the one that is meant,
// or errAnotherImage.
func (p *plan) confirmed() error {
	if p.confirm == nil {
		return nil
	}
	return p.confirm()
}

// errAnotherImage says that a reference means another image than last time, or
// none any more: everything is to be decided anew.
var errAnotherImage = errors.New("it means another image by now")

// plan decides about a request, as far as that needs no claim.
func (l *Launcher) plan(ctx context.Context, r Request) (p plan, err error) {
	if err := l.Space().Room("Container "+r.Name+" not created", 0); err != nil {
		return p, err
	}
	if err := l.spread(ctx, &r); err != nil {
		return p, err
	}
	if p.ask, err = r.Body.Ask(); err != nil {
		return p, err
	}
	if p.ask.GPU != nil {
		if err := MayHold("Container "+r.Name+" not created", r.Account, r.Roles); err != nil {
			return p, err
		}
	}
	libraries, err := l.Libraries()
	if err == nil && p.ask.GPU != nil {
		err = l.Ledger.AwaitSight(ctx)
	}
	if err != nil && p.ask.GPU != nil {
		return p, err
	}
	if p.subject, err = l.subject("Container "+r.Name+" not created", r.Account); err != nil {
		return p, err
	}
	if l.Type != nil {
		p.subject.Limits = p.subject.Limits.Within(l.Type(r.Interface))
	}
	if p.mounts, err = l.allowMounts(r.Account, p.ask.Mounts, p.subject); err != nil {
		return p, err
	}
	image, parent, err := l.ground(ctx, r, &p)
	if err != nil {
		return p, err
	}
	p.wanted, r.Body.Image = r.Body.Image, image.ID // a tag that moves meanwhile changes nothing
	p.user = effectiveUser(r, image, p.mounts.asOwner)
	p.grant = admission.Grant{
		ImageLabels: image.Labels, ImageEnv: image.Env, ImageMakes: image.Makes, ImageVolumes: image.Volumes, ImageDir: image.WorkingDir,
		ImageProbes: image.Probes, Libraries: libraries, NodeFolder: l.NodeFolder, CgroupParent: parent,
		AtStart: p.ask.GPU != nil && l.atStart(libraries),
	}
	p.ports, err = l.reach(ctx, r, &p.ask, image, &p.grant)
	p.request, p.facts = r, facts(r, p.ask, p.wanted, image)
	return p, err
}

// MayHold refuses GPUs to whoever isn't in the group for them.
func MayHold(what string, who account.Account, roles account.Roles) error {
	if roles.GPU {
		return nil
	}
	return &problem.Error{
		What: what,
		Why:  problem.Because(problem.ErrDenied, who.Name+" may not hold GPUs: not in the group for GPU users"),
		Next: "Ask your administrators for membership, or leave --gpus away.",
	}
}

// MayGrantGPUs reports whether somebody with these roles can have a GPU here, when
// one is free.
func (l *Launcher) MayGrantGPUs(roles account.Roles) bool {
	_, err := l.Libraries()
	return err == nil && roles.GPU && l.Ledger.HasGPUs()
}

// order is what the plan needs of the ledger.
func (l *Launcher) order(p plan) allocator.Order {
	r := p.request
	return allocator.Order{
		Account: r.Account, Limits: p.subject.Limits, Name: r.Name, Image: p.wanted, Interface: r.Interface, Origin: r.Origin,
		GPU: p.ask.GPU, Admin: r.Roles.Admin, Waits: r.Person, Mounts: p.mounts.lay(l.MountFolder, p.user), Restart: p.ask.Restart,
		Ports: p.ask.Ports, Policy: p.ports, AtStart: p.grant.AtStart, Wishes: p.ask.Wishes, Lasts: r.Lasts,
	}
}

// claimed grants what the claim holds.
func (p *plan) claimed(record container.Record, devices []gpu.Device) {
	p.grant.Labels, p.grant.Devices, p.grant.Mounts, p.grant.Ports = labelsOf(p.request, record, devices), devices, record.Mounts, record.Ports
	p.facts.Devices, p.facts.Mounts, p.facts.Ports = devices, record.Mounts, record.Ports
}

// subject is a person with what binds them now.
func (l *Launcher) subject(what string, who account.Account) (admission.Subject, error) {
	s := admission.Subject{Account: who, Limits: l.Limits(who), Isolation: l.Isolation()}
	if s.Isolation == "" {
		return s, &problem.Error{
			What: what,
			Why:  problem.Because(problem.ErrUnavailable, "ds01 hasn't found out yet how the engine isolates containers"), Next: "Try again in a moment.",
		}
	}
	return s, nil
}

// ground looks up the image, if the caller may use it, and makes sure of the
// owner's control group, side by side. Where the image that was meant last will do
// until p.confirm says otherwise, it doesn't wait for the look.
func (l *Launcher) ground(ctx context.Context, r Request, p *plan) (image container.Image, parent string, err error) {
	who := curator.Person{UID: r.Account.UID, Admin: r.Roles.Admin}
	last, known := l.Images.Recall(who, r.Body.Image)
	// What a new volume gets of an image stays in it.
	recalled := r.recall && known && len(p.ask.Volumes) == 0 && len(last.Volumes) == 0
	var look errgroup.Group
	var found curator.Found
	look.Go(func() (err error) {
		found, err = l.Images.Find(ctx, who, r.Body.Image)
		return err
	})
	var unready error
	if !r.trial {
		parent, unready = l.Cgroups.Ensure(ctx, r.Account.UID, p.subject.Limits)
	}
	if unready != nil {
		unready = fmt.Errorf("your resource group: %w", unready)
	}
	if !recalled {
		err := look.Wait()
		return found.Image, parent, cmp.Or(err, unready)
	}
	p.confirm = sync.OnceValue(func() error {
		if err := look.Wait(); err != nil || !reflect.DeepEqual(found.Image, last) {
			return errAnotherImage
		}
		return nil
	})
	return last, parent, unready
}

// complete does what can only be done once the container is there: until then
// its claim is pending, and a daemon that starts again removes it.
func (l *Launcher) complete(ctx context.Context, r Request, record *container.Record, user containerUser, g admission.Grant) error {
	if err := l.registerUnnamed(ctx, *record, g); err != nil {
		return err
	}
	named := container.AnyFiles(record.Mounts) && user.name != ""
	if !named && !r.Person {
		return nil
	}
	o, err := l.Engine.Inspect(ctx, record.ContainerID)
	if err != nil {
		return err
	}
	defer l.uncover(ctx, *record, o.Volumes)
	if err := l.cover(r.Account, *record, o); err != nil {
		return err
	}
	if named {
		if err := l.resolveUser(ctx, record, user.name); err != nil {
			return err
		}
	}
	if !r.Person {
		return nil
	}
	return l.writePerson(ctx, *record, r.Account)
}

// bind stores that the container is whole. Where a power cut that took this
// back would make it look half made, it waits for the disk.
func (l *Launcher) bind(ctx context.Context, record *container.Record) error {
	half := false
	err := l.Ledger.Update(ctx, record.ID, func(c *container.Record) {
		half = c.HalfMade()
		c.ContainerID, c.Mounts, c.State = record.ContainerID, record.Mounts, gpu.Bound
		c.HeldUntil = lifecycle.CreatedUntil(c.CreatedAt)
		*record = *c
	})
	if err != nil || !half {
		return err
	}
	return l.Ledger.Flush()
}

// create reviews the request and sends ours in its place.
func (l *Launcher) create(ctx context.Context, p plan, record container.Record) (container.Record, []string, error) {
	r := p.request
	for i, m := range record.Mounts {
		if err := l.Mounter.Prepare(r.Account, p.mounts.roots[i], mountable(record, m)); err != nil {
			return record, nil, container.NotAsked(err)
		}
	}
	p.grant.Volumes = l.copyNothing(p.grant.Volumes)
	_, reviewed, err := l.review(ctx, p)
	if err != nil {
		return record, nil, container.NotAsked(err)
	}
	g := reviewed.Grant
	encoded, err := admission.Encode(reviewed.Body)
	if err != nil {
		return record, nil, container.NotAsked(err)
	}
	if err := recorder.Before(ctx); err != nil {
		return record, nil, container.NotAsked(err)
	}
	if err := l.lay(ctx, r, g); err != nil {
		return record, nil, container.NotAsked(err)
	}
	fresh, err := l.Registrar.UseVolumes(ctx, engineNames(g.Volumes))
	if err != nil {
		return record, nil, container.NotAsked(err)
	}
	id, warnings, err := l.Engine.Create(ctx, account.EngineName(record.Name, record.UID), r.Platform, encoded)
	if err != nil {
		l.disuse(ctx, fresh, err)
		return record, nil, err
	}
	record.ContainerID, warnings = id, append(warnings, told(reviewed.Changes)...)
	if w := admission.PlainWarning(record.Mounts, p.subject); w != "" {
		warnings = append(warnings, w)
	}
	return record, warnings, nil
}

// abandon gives the claim back when there is certainly no container, and
// leaves it to the reconciler otherwise.
func (l *Launcher) abandon(ctx context.Context, record container.Record, err error) error {
	if !refused(err) {
		l.Log.WarnContext(ctx, "create not answered, claim kept", "claim", record.ID, "error", err)
		return &problem.Error{
			What: "Container " + record.Name + " may or may not exist",
			Why:  problem.Because(problem.ErrUnavailable, "the engine's answer was lost: "+err.Error()),
			Next: "Look with 'container list' in a minute; if it isn't there, nothing is held for it.",
		}
	}
	l.unmount(ctx, record)
	l.closeDoor(ctx, record)
	if ferr := l.Ledger.Forget(ctx, record.ID); ferr != nil {
		l.Log.ErrorContext(ctx, "claim not given back", "claim", record.ID, "error", ferr)
	}
	if before, ok := errors.AsType[container.NotAskedError](err); ok {
		return before.Unwrap()
	}
	return err
}

// undo removes a container that could not be finished.
func (l *Launcher) undo(ctx context.Context, record container.Record, err error) error {
	if rerr := l.Engine.Remove(ctx, record.ContainerID, true); rerr != nil {
		l.Log.ErrorContext(ctx, "unfinished container not removed", "container", record.ContainerID, "error", rerr)
		return err // the reconciler finds it
	}
	return l.abandon(ctx, record, container.NotAsked(err))
}

// labels returns every label that ds01 writes on the container.
func labelsOf(r Request, record container.Record, devices []gpu.Device) map[string]string {
	uuids := make([]string, len(devices))
	for i, d := range devices {
		uuids[i] = d.UUID
	}
	labels := map[string]string{
		label.Managed: "true", label.UID: strconv.Itoa(record.UID), label.Interface: r.Interface,
		label.Created: record.CreatedAt.Format(time.RFC3339), label.Claim: record.ID,
		label.GPUUUIDs: strings.Join(uuids, ";"), label.GPUSlots: strings.Join(record.Slots(), ";"),
	}
	if r.Origin != "" {
		labels[label.Origin] = r.Origin
	}
	if !r.Person {
		return labels
	}
	mounted := map[string]string{}
	for _, m := range record.Mounts {
		mounted[m.Target] = m.Source
	}
	for key, value := range map[string]string{
		label.Login: record.Login, label.User: record.Login, label.Name: record.Name, label.Version: "4",
		label.Framework: record.Image, label.Arch: label.None, label.GPUs: strconv.Itoa(len(devices)),
		label.WorkMount: mounted["/workspace"], label.DataMount: mounted["/data"], label.ModelsMount: mounted["/models"],
	} {
		if value == "" {
			value = label.None
		}
		labels[key] = label.Clean(value)
	}
	return labels
}
