package admission

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/problem"
)

const notBuilt = "Image not built"

// A Dockerfile is what a builder reads in one.
type Dockerfile struct {
	Escape       rune // goes before what is meant literally, and at the end of a line that goes on: \ or `
	Instructions []Instruction
}

// An Instruction is one of a Dockerfile, on one line.
type Instruction struct {
	Verb    string   // "FROM", in capitals
	Text    string   // the whole line
	Flags   []string // "--from=x"
	Words   []string // as they are written, with quotes; those of a label are key, value, "=" or ""
	JSON    bool     // they were written as a list of JSON
	Heredoc bool     // lines that follow belong to it
}

// A Syntax is how Dockerfiles are written.
type Syntax interface {
	Read(text []byte) (Dockerfile, error)
	// Expand replaces variables in a word, and takes its quotes away.
	Expand(word string, escape rune, env []string) (string, error)
}

// A Recipe is a Dockerfile that was read and reviewed: what it builds on must
// be found before it can be written for the engine.
type Recipe struct {
	escape rune
	args   map[string]*string
	meta   map[string]string
	steps  []step
	Bases  []Base
}

// A Base is an image that a recipe names.
type Base struct {
	Reference string // as the person calls it
	Platform  string // "" for the build's
	Whole     bool   // it is built on; else only files of it are copied
}

// A step is an instruction, with what is written for the engine in its place.
type step struct {
	of     Instruction
	stage  int // of the instruction, counted from 0; -1: before the first
	text   string
	base   int    // the Base whose id goes between before and after, -1: before is all
	before string // what is written before the id
	after  string
	parent int  // the stage that this one goes on from, -1: none
	fresh  bool // a stage that begins here is marked as the person's
	empty  bool // it begins with nothing
}

// Instructions of Docker's classic builder.
func verbs() []string {
	return []string{
		"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL",
		"USER", "VOLUME", "WORKDIR",
	}
}

// A recipeReader reads one Dockerfile from above to below, as the engine does.
type recipeReader struct {
	syntax Syntax
	escape rune
	args   map[string]*string // of the build
	meta   map[string]string  // ARG before the first FROM, with their values
	stages []string           // names of those so far, "" for one without
	recipe Recipe
}

// ReadRecipe reviews a Dockerfile for a build with these arguments, which ends
// with the stage called target ("" for the last). Errors are of kind
// problem.ErrDenied or problem.ErrInvalid.
func ReadRecipe(d Dockerfile, args map[string]*string, target string, syntax Syntax) (Recipe, error) {
	r := &recipeReader{syntax: syntax, escape: d.Escape, args: args, meta: map[string]string{}, recipe: Recipe{escape: d.Escape, args: args}}
	for _, i := range d.Instructions {
		if i.Verb == "FROM" && target != "" && r.reached(target) {
			break
		}
		s, err := r.read(i)
		if err != nil {
			return Recipe{}, err
		}
		s.of, s.stage = i, len(r.stages)-1
		r.recipe.steps = append(r.recipe.steps, s)
	}
	switch {
	case len(r.stages) == 0:
		return Recipe{}, refuse(problem.ErrInvalid, notBuilt, "the Dockerfile has no FROM", "Begin it with FROM IMAGE.")
	case target != "" && !r.reached(target):
		return Recipe{}, refuse(problem.ErrInvalid, notBuilt, fmt.Sprintf("no stage is called %q", target), "Name one with FROM IMAGE AS NAME.")
	}
	r.recipe.meta = r.meta
	return r.recipe, nil
}

// reached reports whether the last stage so far is the one called target.
func (r *recipeReader) reached(target string) bool {
	n := len(r.stages)
	return n > 0 && (strings.EqualFold(r.stages[n-1], target) || target == strconv.Itoa(n-1))
}

func (r *recipeReader) read(i Instruction) (step, error) {
	if err := r.check(i); err != nil {
		return step{}, err
	}
	as := step{text: i.Text, base: -1, before: i.Text}
	switch i.Verb {
	case "FROM":
		return r.from(i)
	case "ARG":
		return as, r.arg(i)
	case "COPY":
		return r.copying(i)
	case "ADD":
		return adding(i)
	case "LABEL":
		return as, r.labels(i)
	case "ONBUILD": // a stage that goes on from this one begins with it
		_, err := ReadTrigger(i.trigger(), "that is built", true, r.syntax)
		return as, err
	case "RUN":
		if len(i.Flags) > 0 {
			return as, denied(notBuilt, fmt.Sprintf("%q: Docker's classic builder knows no option of RUN", i.Text), "Leave "+i.Flags[0]+" away.")
		}
	}
	return as, nil
}

// check refuses what two builders read in two ways.
func (r *recipeReader) check(i Instruction) error {
	switch {
	case !slices.Contains(verbs(), i.Verb):
		return refuse(problem.ErrInvalid, notBuilt, fmt.Sprintf("unknown instruction: %s", i.Verb), "Correct the Dockerfile.")
	case len(r.stages) == 0 && i.Verb != "FROM" && i.Verb != "ARG":
		return refuse(problem.ErrInvalid, notBuilt, fmt.Sprintf("%q comes before the first FROM", i.Text), "Begin the Dockerfile with FROM IMAGE.")
	case i.Heredoc:
		return denied(notBuilt, fmt.Sprintf("%q: Docker's classic builder knows no here-documents", i.Text), `Write RUN a && \ and go on in the next line, or COPY a file.`)
	case strings.ContainsAny(i.Text, "\n\r\x00"), strings.HasSuffix(strings.TrimSpace(i.Text), string(r.escape)):
		return denied(notBuilt, fmt.Sprintf("%q is read in two ways by two builders", i.Text), "Leave away what stands at the end of the line.")
	}
	return nil
}

// arg takes an ARG before the first FROM: it holds in FROM lines.
func (r *recipeReader) arg(i Instruction) error {
	if len(r.stages) > 0 {
		return nil
	}
	for _, word := range i.Words {
		key, value, some := strings.Cut(word, "=")
		given := r.args[key]
		if given != nil {
			r.meta[key] = *given
			continue
		}
		if !some {
			continue
		}
		expanded, err := r.expand(value)
		if err != nil {
			return err
		}
		r.meta[key] = expanded
	}
	return nil
}

func (r *recipeReader) expand(word string) (string, error) {
	var env []string
	for key, value := range r.meta {
		env = append(env, key+"="+value)
	}
	return r.syntax.Expand(word, r.escape, env)
}

var (
	stageName    = regexp.MustCompile(`^[a-z][a-z0-9_.-]*$`)
	platformName = regexp.MustCompile(`^[a-zA-Z0-9_/.-]+$`)
)

// from reads FROM [--platform=P] IMAGE [AS NAME].
func (r *recipeReader) from(i Instruction) (step, error) {
	bad := func(why string) error {
		return refuse(problem.ErrInvalid, notBuilt, fmt.Sprintf("%q: %s", i.Text, why), "Write FROM IMAGE, or FROM IMAGE AS NAME.")
	}
	name := ""
	switch {
	case len(i.Words) == 3 && strings.EqualFold(i.Words[1], "as"):
		if name = strings.ToLower(i.Words[2]); !stageName.MatchString(name) {
			return step{}, bad(fmt.Sprintf("%q is no name of a stage", i.Words[2]))
		}
	case len(i.Words) != 1:
		return step{}, bad("it takes one image, and a name")
	}
	platform := ""
	for _, flag := range i.Flags {
		value, ok := strings.CutPrefix(flag, "--platform=")
		expanded, err := r.expand(value)
		if err != nil {
			return step{}, err
		}
		if !ok || !platformName.MatchString(expanded) {
			return step{}, bad("of options only --platform=OS/ARCH is read")
		}
		platform = expanded
	}
	image, err := r.expand(i.Words[0])
	if err != nil {
		return step{}, err
	}
	if image == "" {
		return step{}, bad("the image has no name once variables are replaced")
	}
	s := step{text: i.Text, base: -1, parent: -1, before: "FROM ", fresh: true}
	if platform != "" {
		s.before += "--platform=" + platform + " "
	}
	switch {
	case r.isStage(image):
		s.before, s.fresh, s.parent = s.before+strings.ToLower(image), false, slices.Index(r.stages, strings.ToLower(image))
	case image == "scratch":
		s.before, s.empty = s.before+image, true
	default:
		s.base = r.base(Base{Reference: image, Platform: platform, Whole: true})
	}
	if name != "" {
		s.after = " AS " + name
	}
	r.stages = append(r.stages, name)
	return s, nil
}

func (r *recipeReader) isStage(name string) bool {
	return name != "" && slices.Contains(r.stages, strings.ToLower(name))
}

// base returns the place of an image among those that the recipe names.
func (r *recipeReader) base(b Base) int {
	if n := slices.Index(r.recipe.Bases, b); n >= 0 {
		return n
	}
	r.recipe.Bases = append(r.recipe.Bases, b)
	return len(r.recipe.Bases) - 1
}

// Options of COPY and ADD, which hold no quotes, and what follows them.
var optionsThenRest = regexp.MustCompile("^(?i:COPY|ADD)((?:[ \t]+--[a-z-]+(?:=[^ \t\"'\\\\`]*)?)*)[ \t]+([^ \t].*)$")

// split takes COPY and ADD apart.
func split(i Instruction) (options []string, rest string, err error) {
	m := optionsThenRest.FindStringSubmatch(i.Text)
	if m != nil {
		options, rest = strings.Fields(m[1]), m[2]
	}
	if m == nil || strings.HasPrefix(rest, "--") || !slices.Equal(options, i.Flags) && len(options)+len(i.Flags) > 0 {
		return nil, "", denied(notBuilt, fmt.Sprintf("%q: its options hold what ds01 doesn't read", i.Text), "Write options without quotes and backslashes.")
	}
	return options, rest, nil
}

// copying reads COPY, of which --from names a stage or an image.
func (r *recipeReader) copying(i Instruction) (step, error) {
	options, rest, err := split(i)
	s := step{text: i.Text, base: -1, before: i.Text}
	from := slices.IndexFunc(options, func(o string) bool { return strings.HasPrefix(o, "--from=") })
	if err != nil || from < 0 {
		return s, err
	}
	source := strings.TrimPrefix(options[from], "--from=")
	others := slices.Delete(slices.Clone(options), from, from+1)
	if slices.ContainsFunc(others, func(o string) bool { return strings.HasPrefix(o, "--from") }) {
		return s, refuse(problem.ErrInvalid, notBuilt, fmt.Sprintf("%q: --from is given twice", i.Text), "Give it once.")
	}
	s.before, s.after = strings.Join(append([]string{"COPY"}, append(others, "--from=")...), " "), " "+rest
	n, numbered := strconv.Atoi(source)
	switch {
	case r.isStage(source):
		s.before += strings.ToLower(source)
	case numbered == nil && (n < 0 || n >= len(r.stages)-1):
		return s, refuse(problem.ErrInvalid, notBuilt, fmt.Sprintf("%q: no stage before this one has that number", i.Text), "Stages are counted from 0.")
	case numbered == nil:
		s.before += strconv.Itoa(n)
	case source == "" || strings.ContainsAny(source, "$"):
		return s, refuse(problem.ErrInvalid, notBuilt, fmt.Sprintf("%q: --from takes no variables", i.Text), "Name a stage instead: FROM $IMAGE AS NAME, and COPY --from=NAME.")
	default:
		s.base = r.base(Base{Reference: source})
	}
	return s, nil
}

// adding reads ADD. The engine would fetch what an address names from the
// host's own network, where services trust who asks; so every source that may
// become one is written as a path.
func adding(i Instruction) (step, error) {
	options, _, err := split(i)
	s := step{text: i.Text, base: -1, before: i.Text}
	if err != nil || len(i.Words) == 0 {
		return s, err
	}
	sources := i.Words[:len(i.Words)-1]
	var local []string
	for _, source := range sources {
		if isAddress(source) {
			return s, denied(notBuilt, fmt.Sprintf("%q: the engine would fetch it from the host's own network", i.Text),
				"Fetch it in a step of the build, RUN wget or RUN curl, or put the file into the context and COPY it.")
		}
		local = append(local, "./"+source)
	}
	if !strings.ContainsAny(strings.Join(sources, ""), "$\"'\\`:") {
		return s, nil
	}
	words := slices.Concat(local, i.Words[len(i.Words)-1:])
	rest := strings.Join(words, " ")
	if i.JSON {
		list, err := json.Marshal(words)
		if err != nil {
			return s, fmt.Errorf("write %q: %w", i.Text, err)
		}
		rest = string(list)
	}
	s.before = strings.Join(append(append([]string{"ADD"}, options...), rest), " ")
	return s, nil
}

func isAddress(source string) bool {
	plain := strings.ToLower(strings.Trim(source, `"'`))
	return strings.Contains(plain, "://") || strings.HasPrefix(plain, "git@")
}

// labels refuses labels that only ds01 writes. What is pieced together could
// be one.
func (r *recipeReader) labels(i Instruction) error {
	for n := 0; n < len(i.Words); n += 3 {
		key := i.Words[n]
		plain := strings.NewReplacer(`"`, "", "'", "").Replace(key)
		if label.Reserved(plain) {
			return denied(notBuilt, fmt.Sprintf("%q sets a label that only ds01 writes", i.Text), "Use another label key.")
		}
		if strings.ContainsAny(plain, "$"+string(r.escape)) {
			return denied(notBuilt, fmt.Sprintf("%q: a label's key holds '$' or %q", i.Text, r.escape), "Write the key out; its value may hold variables.")
		}
	}
	return nil
}

// trigger returns what follows ONBUILD.
func (i Instruction) trigger() string {
	return strings.TrimSpace(i.Text[min(len("ONBUILD"), len(i.Text)):])
}

// ReadTrigger reads an instruction that an image has its builds begin with. It
// refuses what couldn't be sent as it is: the engine takes it from the image.
//
// What RUN makes of an image before a stage has a label of ds01's would be kept
// for everybody: it is refused unless own says that nobody else is given it.
func ReadTrigger(text, image string, own bool, syntax Syntax) (Instruction, error) {
	refused := func(why string) (Instruction, error) {
		return Instruction{}, denied(notBuilt, fmt.Sprintf("the image %s begins each build with %q: %s", image, text, why), "Leave it away, or build on another image.")
	}
	d, err := syntax.Read([]byte(text))
	if err != nil || len(d.Instructions) != 1 || d.Escape != '\\' || d.Instructions[0].Text != strings.TrimSpace(text) {
		return refused("it is no single instruction")
	}
	r := &recipeReader{syntax: syntax, escape: d.Escape, stages: []string{""}}
	i := d.Instructions[0]
	if err := r.check(i); err != nil {
		return refused("it is read in two ways by two builders")
	}
	switch i.Verb {
	case "FROM", "ONBUILD", "MAINTAINER":
		return refused("no image may")
	case "RUN":
		if len(i.Flags) > 0 {
			return refused("Docker's classic builder knows no option of RUN")
		}
		if !own {
			return i, denied(notBuilt, fmt.Sprintf("the image %s begins each build with %q, whose result others could be given", image, text), "Add --no-cache.")
		}
	case "LABEL":
		if r.labels(i) != nil {
			return refused("only ds01 writes such labels")
		}
	case "COPY":
		if slices.ContainsFunc(i.Flags, func(f string) bool { return strings.HasPrefix(f, "--from") }) {
			return refused("it names an image or a stage")
		}
	case "ADD":
		if s, err := adding(i); err != nil || s.before != i.Text {
			return refused("the engine could fetch it from the host's own network")
		}
	}
	return i, nil
}

// A Shown step is how a step of the engine's is told to people.
type Shown struct {
	Text   string
	Hidden bool // it is one of ds01's
}

// Write returns the Dockerfile that the engine gets for uid, built on images
// by their ids, in the order of Bases, and how its steps are shown.
//
// Each stage begins with labels of ds01's: whatever the engine keeps of its
// steps then belongs to one person, and is reused in their builds only. What
// begins with nothing has the moment too, since everybody's images without a
// parent are its cache.
func (r Recipe) Write(ids []string, uid int, now time.Time) (text []byte, shown []Shown) {
	var b strings.Builder
	if r.escape != '\\' {
		fmt.Fprintf(&b, "# escape=%c\n", r.escape)
	}
	for _, s := range r.steps {
		b.WriteString(s.before)
		if s.base >= 0 {
			b.WriteString(ids[s.base])
		}
		b.WriteString(s.after + "\n")
		shown = append(shown, Shown{Text: s.text})
		if !s.fresh {
			continue
		}
		fmt.Fprintf(&b, "LABEL %s=%d %s=\"\"", label.UID, uid, label.Claim)
		if s.empty {
			fmt.Fprintf(&b, " %s=%s", label.Created, now.UTC().Format(time.RFC3339Nano))
		}
		b.WriteString("\n")
		shown = append(shown, Shown{Hidden: true})
	}
	return []byte(b.String()), shown
}
