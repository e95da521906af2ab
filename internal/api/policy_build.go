package api

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/policy"
	"ds01.dev/ds01/internal/problem"
)

// A triedBuild is a build that is only judged.
type triedBuild struct {
	*call
	subject admission.Subject
	order   launcher.BuildOrder
	asked   url.Values
	changes []admission.Change
}

// buildEval says what would become of a build. Nothing is fetched or built.
func (c *call) buildEval(want apitype.TryBuild) error {
	out := apitype.Explanation{User: c.owner.Name, Build: true, Fields: []apitype.Origin{}, Slots: []string{}, Warnings: []string{}}
	t := triedBuild{call: c, order: launcher.BuildOrder{Account: c.owner, Admin: account.RolesOf(c.owner, c.State().Groups).Admin}}
	err := t.judge(want)
	out.Name = cmp.Or(strings.Join(t.order.Build.Tags, ", "), "without a name")
	out.Fields = t.fields()
	for _, change := range t.changes {
		out.Warnings = append(out.Warnings, change.String())
	}
	if err != nil {
		refusal := problem.Describe(err)
		out.Refusal = &refusal
	}
	out.Allowed = out.Refusal == nil
	return c.answer(out)
}

func (t *triedBuild) judge(want apitype.TryBuild) (err error) {
	if t.asked, err = url.ParseQuery(want.Query); err != nil {
		return &problem.Error{What: "Image not built", Why: problem.Because(problem.ErrInvalid, err.Error()), Next: "Is the docker client a known one?"}
	}
	if t.subject, err = t.Launcher.BuildSubject(t.owner); err != nil {
		return err
	}
	if want.Builder == policy.BuildKit {
		return t.buildKit([]byte(want.Dockerfile))
	}
	return t.classic([]byte(want.Dockerfile))
}

func (t *triedBuild) classic(dockerfile []byte) error {
	ask, err := admission.ReadBuild(t.asked)
	if err != nil {
		return err
	}
	t.order.Networks = ask.Network.Names
	t.order.Build = policy.Build{Builder: policy.Classic, Tags: ask.Names, Target: ask.Target}
	for name := range ask.Args {
		t.order.Build.ArgKeys = append(t.order.Build.ArgKeys, name)
	}
	slices.Sort(t.order.Build.ArgKeys)
	if t.order.Step, err = ask.Step(t.subject); err != nil {
		return err
	}
	all, _ := t.Launcher.JudgeBuild(t.r.Context(), t.order) // as when it begins: what is denied is below
	if ask, t.changes, err = ask.Tightened(t.subject, all); err != nil {
		return err
	}
	if t.order.Step, err = ask.Step(t.subject); err != nil {
		return err
	}
	read, err := t.Recipes.Read(dockerfile)
	if err != nil {
		return err
	}
	recipe, err := admission.ReadRecipe(read, ask.Args, ask.Target, t.Recipes)
	if err != nil {
		return err
	}
	for _, b := range recipe.Bases {
		t.order.Bases = append(t.order.Bases, b.Reference)
	}
	if all, err = t.Launcher.JudgeBuild(t.r.Context(), t.order); err != nil {
		return err
	}
	return ask.CheckTight(t.subject, all)
}

func (t *triedBuild) buildKit(dockerfile []byte) error {
	t.asked.Set("remote", "client-session")
	request, err := admission.ReadKitBuild(t.asked)
	if err != nil {
		return err
	}
	t.order.Networks = []string{network.Bridge}
	t.order.Build = policy.Build{Builder: policy.BuildKit, Tags: request.Targets, Target: request.Attributes["target"]}
	for key := range request.Attributes {
		if name, ok := strings.CutPrefix(key, "build-arg:"); ok {
			t.order.Build.ArgKeys = append(t.order.Build.ArgKeys, name)
		}
	}
	slices.Sort(t.order.Build.ArgKeys)
	t.order.Step = admission.KitSteps(t.subject, request.Attributes)
	if t.order.Bases, err = t.Bases(t.r.Context(), dockerfile, request.Attributes); err != nil {
		return &problem.Error{What: "Image not built", Why: problem.Because(problem.ErrInvalid, err.Error()), Next: "Correct the Dockerfile."}
	}
	all, err := t.Launcher.JudgeBuild(t.r.Context(), t.order)
	if err != nil {
		return err
	}
	t.order.Step, t.changes, err = admission.TightenSteps(t.order.Step, all)
	return err
}

// fields are what the rules see and what steps have, with what set it.
func (t *triedBuild) fields() []apitype.Origin {
	b, h := t.order.Build, t.order.Step.HostConfig
	all := []apitype.Origin{
		{Field: "builder", Value: b.Builder, SetBy: "request"},
		{Field: "bases", Value: t.order.Bases, SetBy: "Dockerfile"},
	}
	if len(b.ArgKeys) > 0 {
		all = append(all, apitype.Origin{Field: "arg_keys", Value: b.ArgKeys, SetBy: "request"})
	}
	amounts := []struct {
		field, query, key, together string
		n                           int64
	}{
		{"memory", "memory", "memory", "aggregate.memory", h.Memory},
		{"cpus", "cpuquota", "max_cpus", "aggregate.cpus", h.NanoCPUs},
		{"pids_limit", "", "", "aggregate.tasks", 0},
	}
	if h.PidsLimit != nil {
		amounts[2].n = *h.PidsLimit
	}
	for _, a := range amounts {
		key := a.key
		if b.Builder == policy.BuildKit || key == "" {
			key = a.together
		}
		o := apitype.Origin{Field: a.field, Value: a.n, SetBy: key + ", " + t.subject.Limits.Source(key).String()}
		if a.field == "cpus" {
			o.Value = float64(a.n) / 1e9
		}
		if asked := t.asked.Get(a.query); asked != "" && asked != "0" {
			o.SetBy = "request"
		}
		if a.n > 0 {
			all = append(all, t.tightened(o))
		}
	}
	return append(all, t.tightened(apitype.Origin{Field: "network", Value: cmp.Or(h.NetworkMode, strings.Join(t.order.Networks, ", "), network.Bridge), SetBy: "request"}))
}

// tightened returns a field as set by the rule that lowered it last.
func (t *triedBuild) tightened(o apitype.Origin) apitype.Origin {
	for _, c := range t.changes {
		if c.Field == o.Field {
			o.SetBy = "site policy, " + c.Rule
		}
	}
	return o
}
