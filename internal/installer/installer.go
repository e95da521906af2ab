// Package installer carries out what package takeover plans on a host that
// runs systemd: it looks at the host, keeps what it is about to change, does
// the steps one by one, and takes all of them back when one fails or when it
// is asked to. It decides nothing about what belongs where.
package installer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/systemd"
	"ds01.dev/ds01/internal/takeover"
	"ds01.dev/ds01/internal/volume"
)

// Units speaks to systemd.
type Units interface {
	Unit(ctx context.Context, name string) (systemd.Unit, error)
	ReadUnits(ctx context.Context) error
	Start(ctx context.Context, name string) error
	Stop(ctx context.Context, name string) error
	Reread(ctx context.Context, name string) error
}

// Engine is one that answers at a socket.
type Engine interface {
	Info(ctx context.Context) (container.EngineInfo, error)
	Setup(ctx context.Context) (container.EngineSetup, error)
	List(ctx context.Context) ([]container.Observed, error)
	Inspect(ctx context.Context, id string) (container.Observed, error)
	Holdings
	Close() error
}

// Holdings are what an engine keeps in its folder beside containers.
type Holdings interface {
	Images(ctx context.Context) ([]container.Image, error)
	LayerBytes(ctx context.Context) (int64, error)
	SaveImages(ctx context.Context, references []string) (io.ReadCloser, error)
	LoadImages(ctx context.Context, archive io.Reader) error
	VolumeFolders(ctx context.Context) (map[string]string, error)
	Networks
}

// Accounts changes the host's groups, and accounts of the system's.
type Accounts interface {
	Group(ctx context.Context, name string) (members []string, ok bool) // directories' too
	Add(ctx context.Context, group string) error
	Drop(ctx context.Context, group string) error
	Join(ctx context.Context, user, group string) error
	Leave(ctx context.Context, user, group string) error
	User(ctx context.Context, name string) bool
	AddUser(ctx context.Context, name string) error
	DropUser(ctx context.Context, name string) error
}

// Parts are what an installer works with.
type Parts struct {
	Root     string // stands for /, in tests; "" is the host's own
	Units    Units
	Engine   func(socket string) (Engine, error)
	Accounts Accounts
	// Host judges what ds01 can't change, from an engine that answers at a socket.
	Host func(ctx context.Context, e Engine, socket string) []apitype.Check
	// Doctor asks the daemon.
	Doctor func(ctx context.Context) ([]apitype.Check, error)
	// Try has a user run a container through the gateway, and knock at the engine.
	Try func(ctx context.Context, user, gateway, engine string) error
	// Spare starts a second engine, for images alone, and returns its socket.
	Spare func(ctx context.Context, s Spare) (socket string, stop func() error, err error)
	// Record has ds01 know of volumes that it doesn't, while it is stopped.
	Record func(ctx context.Context, all []volume.Record) error
	// Begin is told each step before it is done; nil tells nobody.
	Begin func(takeover.Step)
	// Tell is told how far a long step is; nil tells nobody.
	Tell    func(text string)
	Now     func() time.Time
	Patient time.Duration // how long something that was started may take to answer
}

// Installer changes one host.
type Installer struct {
	Parts
	wish    takeover.Wish
	journal string               // the folder that it keeps what was before in
	running []takeover.Container // when it looked
}

// New returns the installer that fulfils a wish.
func New(p Parts, w takeover.Wish) *Installer {
	return &Installer{Parts: p, wish: w, journal: takeover.InstallFolder}
}

// in returns the installer that keeps what was before in another folder.
func (i *Installer) in(journal string) *Installer {
	j := *i
	j.journal = journal
	return &j
}

func (i *Installer) at(path string) string { return filepath.Join("/", i.Root, path) }

func (i *Installer) kept(name string) string { return i.at(filepath.Join(i.journal, name)) }

// Plan looks at the host and plans the installation.
func (i *Installer) Plan(ctx context.Context) (takeover.Facts, takeover.Plan, error) {
	f, err := i.observe(ctx)
	if err != nil {
		return f, takeover.Plan{}, err
	}
	p, err := takeover.Install(f, i.wish)
	return f, p, err
}

// Install does the steps of a plan that Plan made. If one fails, all are taken
// back, but for an installation that was whole before: then it says so.
func (i *Installer) Install(ctx context.Context, f takeover.Facts, p takeover.Plan) error {
	unlock, err := i.lock()
	if err != nil {
		return err
	}
	defer unlock()
	m, err := i.keep(f, p)
	if err != nil {
		return err
	}
	failed := errors.Join(i.sweep(m), i.do(ctx, p.Steps))
	if failed == nil {
		m.Whole = true
		return i.save(m)
	}
	if f.Before != nil && f.Before.Whole {
		return &problem.Error{
			What: "ds01 stays as it was installed, but not everything came to its end", Why: failed,
			Next: "Correct it and run 'ds01 install' again, or take everything back with 'ds01 uninstall'.",
		}
	}
	if err := i.back(context.WithoutCancel(ctx)); err != nil {
		return &problem.Error{
			What: "ds01 is not installed, and not everything could be taken back", Why: errors.Join(failed, err),
			Next: "Correct it and run 'ds01 uninstall', which goes on with it; what was there before is in " + takeover.InstallFolder + ".",
		}
	}
	return &problem.Error{What: "ds01 is not installed; everything is as it was before", Why: failed, Next: next(failed)}
}

// next is what a failure itself proposes.
func next(failed error) string {
	if p, ok := errors.AsType[*problem.Error](failed); ok && p.Next != "" {
		return p.Next
	}
	return "Correct it, and run 'ds01 install' again."
}

// back takes an installation back that didn't come to its end. What somebody
// has changed meanwhile stays.
func (i *Installer) back(ctx context.Context) error {
	f, err := i.observe(ctx)
	if err != nil {
		return err
	}
	var keep []string
	for _, c := range takeover.Changes(f) {
		keep = append(keep, c.Path)
	}
	p, err := takeover.Undo(f, keep)
	if err != nil {
		return err
	}
	return i.undo(ctx, p, keep)
}

// Removal looks at the host and tells what 'ds01 install' left there that
// somebody changed since. Without an installation it is of kind
// problem.ErrNotFound.
func (i *Installer) Removal(ctx context.Context) (takeover.Facts, []takeover.Changed, error) {
	f, err := i.observe(ctx)
	if err != nil {
		return f, nil, err
	}
	if f.Before == nil {
		return f, nil, &problem.Error{
			What: "nothing to uninstall", Why: problem.Because(problem.ErrNotFound, "'ds01 install' has left nothing in "+takeover.InstallFolder),
			Next: "What was set up by hand has to be taken away by hand.",
		}
	}
	return f, takeover.Changes(f), nil
}

// Uninstall does the steps of an undoing plan to its end, whatever fails on
// the way. What is kept of the host as it was before stays where keep has
// paths.
func (i *Installer) Uninstall(ctx context.Context, p takeover.Plan, keep []string) error {
	unlock, err := i.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return i.undo(ctx, p, keep)
}

func (i *Installer) undo(ctx context.Context, p takeover.Plan, keep []string) error {
	errs := i.all(ctx, p.Steps)
	m, err := i.load()
	if err != nil || m == nil {
		return errors.Join(append(errs, err)...)
	}
	errs = append(errs, i.sweep(*m))
	if remap, err := i.in(takeover.RemapFolder).load(); err == nil && remap != nil {
		errs = append(errs, i.sweep(*remap))
	}
	if err := errors.Join(errs...); err != nil && !i.asBefore(ctx) {
		return err
	}
	return errors.Join(i.in(takeover.RemapFolder).forget(false), i.forget(len(keep) > 0))
}

// forget gives up what was kept, of which a copy under another name may stay.
func (i *Installer) forget(keep bool) error {
	m, err := i.load()
	if err != nil || m == nil {
		return err
	}
	// At once, so that what is left of it is whole or isn't taken for anything.
	past := i.kept("") + "-" + m.Began.Format("20060102T150405Z")
	if err := os.Rename(i.kept(""), past); err != nil || keep {
		return err
	}
	return os.RemoveAll(past)
}

// sweep removes what a process that was killed left beside files.
func (i *Installer) sweep(m takeover.Manifest) error {
	var errs []error
	for _, t := range slices.Concat(m.Touched, m.Accounts) {
		if err := os.Remove(temporary(i.at(t.Path))); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// asBefore reports whether another undoing would find nothing to do but look:
// a step that failed was made good by a later one.
func (i *Installer) asBefore(ctx context.Context) bool {
	f, err := i.observe(ctx)
	if err != nil || f.Before == nil || f.Docker.Active != f.Before.Started {
		return false
	}
	for _, t := range f.Before.Touched {
		if f.Files[t.Path].Same(t.After) && !t.After.Same(t.Before) {
			return false
		}
	}
	return true
}

// do does steps until one fails.
func (i *Installer) do(ctx context.Context, steps []takeover.Step) error {
	for _, s := range steps {
		if err := i.step(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// lock keeps two installers from one host.
func (i *Installer) lock() (unlock func(), err error) {
	if err := os.MkdirAll(i.kept(""), 0o700); err != nil {
		return nil, fmt.Errorf("folder of what was there before: %w", err)
	}
	f, err := os.OpenFile(i.at(takeover.InstallFolder)+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the installation: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(&problem.Error{
			What: "ds01 is being installed or uninstalled already", Why: problem.Because(problem.ErrConflict, "another process does it"), Next: "Wait for its end.",
		}, f.Close())
	}
	return func() { _ = f.Close() }, nil // closing unlocks
}

// load returns what an earlier installation kept, nil where there is none.
func (i *Installer) load() (*takeover.Manifest, error) {
	data, err := os.ReadFile(i.kept(takeover.ManifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // nothing is kept
	}
	if err != nil {
		return nil, fmt.Errorf("what was there before: %w", err)
	}
	var m takeover.Manifest
	if err := json.Unmarshal(data, &m); err != nil || m.Version != 1 {
		return nil, &problem.Error{
			What: i.kept(takeover.ManifestFile) + " can't be read", Why: errors.Join(err, fmt.Errorf("version %d", m.Version)), Next: "Use the ds01 that wrote it.",
		}
	}
	for n, t := range m.Touched {
		m.Touched[n].Before.Text = i.textOf(t.Before)
	}
	return &m, nil
}

// textOf returns what was kept of a file, nil for what isn't shown.
func (i *Installer) textOf(f takeover.File) []byte {
	if f.Kind != takeover.Regular {
		return nil
	}
	info, err := os.Stat(i.kept(f.Sum))
	if err != nil || info.Size() > mostShown {
		return nil
	}
	text, err := os.ReadFile(i.kept(f.Sum))
	if err != nil {
		return nil
	}
	return text
}

// keep writes down what a plan is about to change, and keeps copies of the
// files, before anything is.
func (i *Installer) keep(f takeover.Facts, p takeover.Plan) (takeover.Manifest, error) {
	m := takeover.Record(f, i.wish.Engine, p, takeover.Manifest{Began: i.Now().UTC()}, func(dir string) bool {
		info, err := os.Stat(i.at(dir))
		return err == nil && info.IsDir()
	})
	if f.Before == nil {
		for _, path := range i.accountFiles() {
			was, err := i.look(path)
			if err != nil {
				return m, err
			}
			m.Accounts = append(m.Accounts, takeover.Touched{Path: path, Before: was})
		}
	}
	for _, t := range slices.Concat(m.Touched, m.Accounts) {
		if t.Before.Kind != takeover.Regular {
			continue
		}
		if _, err := os.Stat(i.kept(t.Before.Sum)); err == nil {
			continue
		}
		if err := copyTo(i.at(t.Path), i.kept(t.Before.Sum), 0o600); err != nil {
			return m, fmt.Errorf("keep a copy of %s: %w", t.Path, err)
		}
	}
	return m, i.save(m)
}

func (i *Installer) save(m takeover.Manifest) error {
	for n := range m.Touched {
		m.Touched[n].Before.Text = nil
	}
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("write down what was there before: %w", err)
	}
	return write(i.kept(takeover.ManifestFile), data, 0o600)
}
