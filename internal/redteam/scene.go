package redteam

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"ds01.dev/ds01/internal/problem"
)

// A Stage says where the attack takes place. As root everything is looked at;
// as anybody else the attacker is the caller and there is no victim.
type Stage struct {
	GatewaySocket string
	APISocket     string // "" leaves the API's vectors untried
	EngineSocket  string // "" where it can't be asked; then nothing of it is compared
	MountFolder   string // where ds01 lays mounts
	Image         string // a local image with sh, of the name that people use
	Attacker      Person
	Victim        *Person // nil: none; only as root
	GPU           bool    // the victim may take a GPU for the time
	Now           func() time.Time

	// Unlisted says that the site's rules let no image come from a registry on a
	// port of the host's.
	Unlisted bool
	// Build builds by BuildKit as a person, with a stock client that knows buildx
	// where the recipe wants it, and returns what that said. nil leaves builds of
	// this kind untried.
	Build func(ctx context.Context, who Person, r Recipe) (said []byte, built bool, err error)
	// Rules has the daemon read a file of rules beside the site's own, "" takes it
	// away. The site's own deny every container that is labelled redteam=denied.
	// nil leaves hostile rules untried.
	Rules func(ctx context.Context, text string) error
}

// A Scene is what an attack has been prepared with: two containers of the
// attacker's or the victim's own, files that nobody may touch, and secrets
// that must not be heard.
type Scene struct {
	Stage
	self    Person // who looks
	mark    string
	dir     string // holds the canary and the victim's folder
	facts   facts
	secrets map[string]string // what must not be heard → what it is
	plain   Inspection
	before  picture
	trap    *trap
	cached  bool // the victim has built
	undo    []func(context.Context) error
}

func word() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return "rt" + hex.EncodeToString(b[:])
}

// prepare makes everything that vectors aim at. What it made before an error
// is in undo.
func prepare(ctx context.Context, stage Stage) (*Scene, error) {
	s := &Scene{Stage: stage, self: Person{UID: os.Geteuid(), GID: os.Getegid()}, mark: word(), secrets: map[string]string{}}
	s.facts = facts{
		"{mark}": s.mark, "{victimmark}": s.mark + "v", "{image}": stage.Image, "{gateway}": stage.GatewaySocket, "{engine}": stage.EngineSocket,
		"{home}": stage.Attacker.Home, "{login}": stage.Attacker.Login, "{now}": strconv.FormatInt(stage.Now().Unix()+2, 10), "{seccomp}": "",
		"{victimdev}": "/dev/none",
	}
	if stage.EngineSocket == "" {
		s.facts["{engine}"] = "/run/ds01/engine.sock"
	}
	for _, step := range []func(context.Context) error{s.checkAttacker, s.makeTrap, s.makeFiles, s.makeRoom, s.makeOwn, s.makeVictim, s.makeHidden, s.makeImages} {
		if err := step(ctx); err != nil {
			return s, err
		}
	}
	s.nameSpaces(ctx)
	s.facts["{payload}"] = s.facts.payload()
	tars, err := archives(s.facts)
	if err != nil {
		return s, err
	}
	maps.Copy(s.facts, tars)
	s.before = s.look(ctx)
	return s, nil
}

// later remembers how to take something away.
func (s *Scene) later(f func(context.Context) error) { s.undo = append(s.undo, f) }

// leave takes everything away that was made, the last first.
func (s *Scene) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	errs := []error{s.sweep(ctx, true)}
	for _, undo := range slices.Backward(s.undo) {
		errs = append(errs, undo(ctx))
	}
	return errors.Join(errs...)
}

// checkAttacker refuses an account to which everything is open.
func (s *Scene) checkAttacker(ctx context.Context) error {
	if s.APISocket == "" {
		return nil
	}
	var said []byte
	status, err := s.exchange(ctx, s.Attacker, s.APISocket, Step{Method: http.MethodGet, Path: "/v1/limits?all=true"}, &said)
	if err != nil {
		return &problem.Error{What: "Red team not started", Why: problem.Because(problem.ErrUnavailable, err.Error()), Next: "Is the daemon running?"}
	}
	if status == http.StatusOK {
		return &problem.Error{
			What: "Red team not started", Why: problem.Because(problem.ErrInvalid, s.Attacker.Login+" administers, so everything is open to them"),
			Next: "Attack as an account that only uses containers: as root, with --user NAME.",
		}
	}
	return nil
}

// secret makes up a word that nobody else may hear.
func (s *Scene) secret(what string) string {
	text := "hush" + word()
	s.secrets[text] = what
	return text
}

// makeFiles lays out the canary, the victim's folder and the attacker's own.
func (s *Scene) makeFiles(context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "ds01-redteam-"); err != nil {
		return fmt.Errorf("folder of the canaries: %w", err)
	}
	s.later(func(context.Context) error { return os.RemoveAll(s.dir) })
	if err := os.Chmod(s.dir, 0o711); err != nil { //nolint:gosec // its folders have modes of their own
		return err
	}
	canary := filepath.Join(s.dir, "canary")
	s.facts["{canary}"] = canary
	if err := lock(s.self, canary, s.secret("a file of root's on the host")); err != nil {
		return err
	}
	if s.Victim != nil {
		folder := filepath.Join(s.dir, "victim")
		s.facts["{victimhome}"] = folder
		if err := lock(*s.Victim, folder, s.secret("a file of another person's on the host")); err != nil {
			return err
		}
	}
	return s.makeWork(canary)
}

// lock makes a folder with a secret that only one person may enter.
func lock(who Person, folder, secret string) error {
	if err := os.Mkdir(folder, 0o700); err != nil {
		return fmt.Errorf("folder of a canary: %w", err)
	}
	name := filepath.Join(folder, "secret")
	if err := os.WriteFile(name, []byte(secret+"\n"), 0o600); err != nil {
		return fmt.Errorf("file of a canary: %w", err)
	}
	return errors.Join(os.Lchown(name, who.UID, who.GID), os.Lchown(folder, who.UID, who.GID))
}

// makeWork makes the attacker's own folder, with the attacker's rights: a
// home is its owner's, who may have put links in it.
func (s *Scene) makeWork(canary string) error {
	if s.Attacker.Home == "" {
		return nil
	}
	work := filepath.Join(s.Attacker.Home, "ds01-"+s.mark)
	s.later(func(context.Context) error {
		return s.Attacker.as(func() error { return os.RemoveAll(work) })
	})
	s.facts["{work}"] = work
	return s.Attacker.as(func() error {
		return errors.Join(
			os.Mkdir(work, 0o700), os.Mkdir(filepath.Join(work, "swap"), 0o700),
			os.Symlink(canary, filepath.Join(work, "link")), os.Symlink("/", filepath.Join(work, "rootlink")),
			os.Symlink(filepath.Join(s.dir, "victim"), filepath.Join(work, "victimlink")),
		)
	})
}

// swap puts a link to the canary in the place of one's own folder, or undoes
// it.
func (s *Scene) swap(link bool) error {
	path := filepath.Join(s.facts["{work}"], "swap")
	return s.Attacker.as(func() error {
		if err := os.Remove(path); err != nil {
			return err
		}
		if link {
			return os.Symlink(s.facts["{canary}"], path)
		}
		return os.Mkdir(path, 0o700)
	})
}

// refusedError says what a preparation was answered, by its kind.
func refusedError(what string, status int, answer []byte) error {
	kind := map[int]error{403: problem.ErrDenied, 404: problem.ErrNotFound, 429: problem.ErrLimit, 503: problem.ErrUnavailable}[status]
	return &problem.Error{
		What: "Red team not started: " + what, Why: problem.Because(kind, fmt.Sprintf("status %d: %s", status, messageOf(answer))),
		Next: "The attacker needs room for two containers and the image must be here; 'ds01 doctor' shows what is missing.",
	}
}

func short(id string) string { return id[:min(len(id), 12)] }

func upper(s string) string { return strings.ToUpper(s) }
