package api

import (
	"cmp"
	"encoding/json"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/problem"
)

// policyEval says what would become of a request of stock docker's. Nothing is
// claimed or created for it.
func (c *call) policyEval() error {
	var want apitype.TryContainer
	if err := c.read(&want); err != nil {
		return err
	}
	if want.Build != nil {
		return c.buildEval(*want.Build)
	}
	want.Name = cmp.Or(want.Name, "unnamed")
	out := apitype.Explanation{User: c.owner.Name, Name: want.Name, Fields: []apitype.Origin{}, Slots: []string{}, Warnings: []string{}}
	body, err := admission.DecodeCreate([]byte(want.Body))
	out.Image = body.Image
	if err == nil {
		var t launcher.Trial
		if t, err = c.try(want.Name, body); err == nil {
			err = describeTrial(&out, t)
		}
	}
	if err != nil {
		refusal := problem.Describe(err)
		out.Refusal = &refusal
	}
	out.Allowed = out.Refusal == nil
	return c.answer(out)
}

func (c *call) try(name string, body admission.Create) (launcher.Trial, error) {
	if !account.ValidContainerName(name) {
		return launcher.Trial{}, checkCreate(apitype.CreateContainer{Name: name})
	}
	t := c.Launcher.Try(c.r.Context(), launcher.Request{
		Account: c.owner, Roles: account.RolesOf(c.owner, c.State().Groups), Name: name, Interface: label.InterfaceOf(body.Labels, label.Docker), Origin: c.Origins.Of(c.peer),
		Body: body, Subpaths: true,
	})
	return t, nil
}

func describeTrial(out *apitype.Explanation, t launcher.Trial) error {
	out.Registry = t.Image.Registry
	out.Slots = append(out.Slots, t.Slots...)
	out.Warnings = append(out.Warnings, t.Told...)
	for _, o := range t.Origins {
		out.Fields = append(out.Fields, apitype.Origin{Field: o.Field, Value: json.RawMessage(o.Value), SetBy: o.SetBy})
	}
	return t.Refusal
}
