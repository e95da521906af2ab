package admission

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// A Ground is what a stage begins with: what the image that it is built on says.
type Ground struct {
	Env      []string // "NAME=value"
	Dir      string
	Triggers []Instruction // as ReadTrigger returns them
}

// A place is what a stage has come to.
type place struct {
	env  map[string]string
	args map[string]string
	said map[string]bool // arguments that were declared, also without a value
	dir  string

	triggers []Instruction // what a stage begins with that goes on from here
}

// Variables that a build may be given without ARG: engines don't agree which.
var givenAlways = regexp.MustCompile(`(?i)\$\{?((?:http|https|ftp|no|all)_proxy)`)

// checkGiven refuses a word whose value engines don't agree on.
func (p *place) checkGiven(i Instruction) error {
	for _, m := range givenAlways.FindAllStringSubmatch(i.Text, -1) {
		if _, set := p.env[m[1]]; !set && !p.said[m[1]] {
			return denied(notBuilt, fmt.Sprintf("%q: not every engine knows %s there", i.Text, m[1]), "Write ARG "+m[1]+" above it.")
		}
	}
	return nil
}

// CheckDirs refuses a recipe of which a step works in /proc: a descriptor that
// the runtime has left open there leads to the host (CVE-2024-21626). grounds
// are those of Bases, in their order.
func (r Recipe) CheckDirs(grounds []Ground, syntax Syntax) error {
	var stages []place
	for _, s := range r.steps {
		if s.of.Verb == "FROM" {
			p, err := r.begin(s, grounds, stages, syntax)
			if err == nil {
				err = checkWorkingDir(notBuilt, p.dir)
			}
			if err != nil {
				return err
			}
			stages = append(stages, p)
			continue
		}
		if s.stage < 0 {
			continue
		}
		if err := r.follow(&stages[s.stage], s.of, syntax); err != nil {
			return err
		}
	}
	return nil
}

func (r Recipe) begin(s step, grounds []Ground, stages []place, syntax Syntax) (place, error) {
	p := place{env: map[string]string{}, args: map[string]string{}, said: map[string]bool{}, dir: "/"}
	var triggers []Instruction
	switch {
	case s.parent >= 0:
		triggers = stages[s.parent].triggers
		p.env, p.dir = maps.Clone(stages[s.parent].env), stages[s.parent].dir
	case s.base >= 0:
		triggers = grounds[s.base].Triggers
		for _, e := range grounds[s.base].Env {
			name, value, _ := strings.Cut(e, "=")
			p.env[name] = value
		}
		p.dir = path.Join("/", grounds[s.base].Dir)
	}
	for _, i := range triggers {
		if err := r.follow(&p, i, syntax); err != nil {
			return p, err
		}
	}
	return p, nil
}

// follow keeps what an instruction changes of a place.
func (r Recipe) follow(p *place, i Instruction, syntax Syntax) error {
	if i.Verb == "ONBUILD" {
		d, err := syntax.Read([]byte(i.trigger()))
		p.triggers = append(p.triggers, d.Instructions...)
		return err
	}
	if !slices.Contains([]string{"ARG", "ENV", "WORKDIR"}, i.Verb) {
		return nil
	}
	if err := p.checkGiven(i); err != nil {
		return err
	}
	before := p.variables() // words of one instruction see what was before it
	expand := func(word string) (string, error) { return syntax.Expand(word, r.escape, before) }
	switch i.Verb {
	case "ARG":
		return r.declare(p, i, expand)
	case "ENV":
		for n := 0; n+1 < len(i.Words); n += 3 {
			name, err := expand(i.Words[n])
			if err != nil {
				return err
			}
			if p.env[name], err = expand(i.Words[n+1]); err != nil {
				return err
			}
		}
	case "WORKDIR":
		dir, err := expand(strings.Join(i.Words, " "))
		if err != nil {
			return err
		}
		if !path.IsAbs(dir) {
			dir = path.Join(p.dir, dir)
		}
		p.dir = dir
		return checkWorkingDir(notBuilt, dir)
	}
	return nil
}

// declare takes an ARG of a stage: what the build was given counts, then its
// default, then what one before the first FROM had.
func (r Recipe) declare(p *place, i Instruction, expand func(string) (string, error)) error {
	for _, word := range i.Words {
		name, value, some := strings.Cut(word, "=")
		p.said[name] = true
		meta, global := r.meta[name]
		switch given := r.args[name]; {
		case given != nil:
			p.args[name] = *given
		case some:
			expanded, err := expand(value)
			if err != nil {
				return err
			}
			p.args[name] = expanded
		case global:
			p.args[name] = meta
		}
	}
	return nil
}

// variables returns those that hold, those of the image over arguments.
func (p place) variables() []string {
	all := maps.Clone(p.args)
	maps.Copy(all, p.env)
	var list []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, name+"="+all[name])
	}
	return list
}
