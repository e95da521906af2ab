package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/volume"
)

// A volumeView is the engine's answer; what isn't named passes as it is.
type volumeView struct {
	Name   string            `json:"Name"`
	Labels map[string]string `json:"Labels"`
	Rest   jsontext.Value    `json:",embed"`
}

// ownVolume returns the record that the route's {id} means to the caller; an
// administrator may name any volume as the engine calls it.
func (c *call) ownVolume() (volume.Record, error) {
	if v, ok := c.Registrar.Volume(c.who.UID, c.match.Param); ok {
		return v, nil
	}
	if c.roles.Admin {
		v, known := c.Registrar.VolumeAt(c.match.Param)
		if !known { // nobody's
			v = volume.Record{EngineName: c.match.Param, UID: -1}
		}
		return v, nil
	}
	return volume.Record{}, &problem.Error{
		What: "No such volume: " + c.match.Param, Why: problem.Because(problem.ErrNotFound, "you have no volume of that name"),
		Next: "'docker volume ls' shows yours.",
	}
}

// volumeName returns the caller's name of a volume of theirs, and any other
// text as it is.
func (c *call) volumeName(engineName string) string {
	if v, ok := c.Registrar.VolumeAt(engineName); ok && v.UID == c.who.UID {
		return v.Name
	}
	return engineName
}

// showOwnVolume returns a volume of the caller's in their words, and any other
// as it is.
func (c *call) showOwnVolume(v volumeView) volumeView {
	if own, known := c.Registrar.VolumeAt(v.Name); known && own.UID == c.who.UID {
		v.Name = own.Name
		hideLabels(v.Labels)
	}
	return v
}

// volumeList answers with the caller's volumes; administrators see all.
func (c *call) volumeList() error {
	filters, names, err := c.nameFilters("dangling", "driver", "label", "name")
	if err != nil {
		return err
	}
	shown, err := c.volumes(filters, names)
	if err != nil {
		return err
	}
	return c.views(struct {
		Volumes  []volumeView
		Warnings []string
	}{shown, []string{}})
}

// volumes returns the volumes the caller may see, in their own names.
func (c *call) volumes(filters filterSet, names []*regexp.Regexp) ([]volumeView, error) {
	data, err := c.fetch(c.r.Context(), http.MethodGet, "/volumes", url.Values{"filters": {filters.encode()}}, nil)
	if err != nil {
		return nil, err
	}
	var doc struct{ Volumes []volumeView }
	if err := jsonv2.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("read the engine's list: %w", err)
	}
	shown := []volumeView{}
	for _, v := range doc.Volumes {
		own, known := c.Registrar.VolumeAt(v.Name)
		if !c.roles.Admin && (!known || own.UID != c.who.UID) {
			continue
		}
		v = c.showOwnVolume(v)
		if fits(names, v.Name) {
			shown = append(shown, v)
		}
	}
	return shown, nil
}

// nameFilters reads the filters of a list: those by name are ours to apply,
// since the engine knows other names.
func (c *call) nameFilters(keys ...string) (filterSet, []*regexp.Regexp, error) {
	filters, err := readFilters(c.match.Query.Get("filters"))
	if err != nil {
		return nil, nil, err
	}
	if err := filters.allow(keys...); err != nil {
		return nil, nil, err
	}
	var names []*regexp.Regexp
	for _, text := range filters["name"] {
		re, err := regexp.Compile(text)
		if err != nil {
			return nil, nil, badFilter(err.Error())
		}
		names = append(names, re)
	}
	delete(filters, "name")
	return filters, names, nil
}

// fits reports whether one of the patterns fits, or there are none.
func fits(patterns []*regexp.Regexp, name string) bool {
	for _, re := range patterns {
		if re.MatchString(name) {
			return true
		}
	}
	return len(patterns) == 0
}

// views answers with a document of views.
func (c *call) views(v any) error {
	out, err := jsonv2.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	return c.raw(http.StatusOK, out)
}

func (c *call) volumeInspect() error {
	v, err := c.ownVolume()
	if err != nil {
		return err
	}
	return c.showVolume(http.StatusOK, v)
}

func (c *call) showVolume(status int, v volume.Record) error {
	data, err := c.fetch(c.r.Context(), http.MethodGet, "/volumes/"+v.EngineName, nil, nil)
	if err != nil {
		return err
	}
	var doc volumeView
	if err := jsonv2.Unmarshal(data, &doc); err != nil {
		return fmt.Errorf("read the engine's answer: %w", err)
	}
	out, err := jsonv2.Marshal(c.showOwnVolume(doc))
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	return c.raw(status, out)
}

// volumeCreate makes a volume of the caller's. One that is there already is
// the answer, as it is with the engine.
func (c *call) volumeCreate() error {
	data, err := c.body()
	if err != nil {
		return err
	}
	body, err := admission.ReviewVolume(data)
	if err != nil {
		return err
	}
	unnamed := body.Name == ""
	if unnamed {
		var b [32]byte
		rand.Read(b[:])
		body.Name = hex.EncodeToString(b[:])
	}
	labels := launcher.OwnLabels(c.who.UID)
	maps.Copy(labels, body.Labels) // reviewed: none is ours
	defer c.Registrar.LockVolumes(c.Registrar.VolumeName(c.who.UID, body.Name))()
	v, err := c.Registrar.EnsureVolume(context.WithoutCancel(c.r.Context()), c.who.UID, body.Name, unnamed, labels)
	if err != nil {
		return err
	}
	return c.showVolume(http.StatusCreated, v)
}

func (c *call) volumeRemove() error {
	v, err := c.ownVolume()
	if err != nil {
		return err
	}
	ctx := context.WithoutCancel(c.r.Context())
	defer c.Registrar.LockVolumes(v.EngineName)()
	resp, err := c.ask(ctx, http.MethodDelete, "/volumes/"+v.EngineName, c.match.Query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // relay reads it
	if resp.StatusCode < http.StatusMultipleChoices || resp.StatusCode == http.StatusNotFound {
		if err := c.Registrar.ForgetVolume(ctx, v.EngineName); err != nil {
			return err
		}
	}
	return c.relay(resp)
}

// volumePrune removes the caller's volumes that no container has.
func (c *call) volumePrune() error {
	want, filters, err := c.pruneFilters("all")
	if err != nil {
		return err
	}
	everything := minor(c.version) < 42 || len(filters["all"]) > 0 && filters["all"][0] != "0" && filters["all"][0] != "false"
	sizes, err := c.volumeSizes()
	if err != nil {
		return err
	}
	idle, err := c.idleVolumes()
	if err != nil {
		return err
	}
	deleted, reclaimed := []string{}, int64(0)
	for _, row := range idle {
		v, known := c.Registrar.VolumeAt(row.Name)
		if !known || v.UID != c.who.UID || !everything && !v.Anonymous || !want.takes(v.CreatedAt, row.Labels) {
			continue
		}
		if gone, err := c.dropVolume(v); err != nil {
			return err
		} else if gone {
			deleted, reclaimed = append(deleted, v.Name), reclaimed+sizes[v.EngineName]
		}
	}
	return c.json(http.StatusOK, map[string]any{"VolumesDeleted": deleted, "SpaceReclaimed": reclaimed})
}

// A labelled is what a prune looks at of a volume or a network.
type labelled struct {
	ID     string `json:"Id"` // of a network
	Name   string // at the engine
	Labels map[string]string
}

// idleVolumes returns everybody's volumes that no container has.
func (c *call) idleVolumes() ([]labelled, error) {
	data, err := c.fetch(c.r.Context(), http.MethodGet, "/volumes", url.Values{"filters": {filterSet{"dangling": {"true"}}.encode()}}, nil)
	if err != nil {
		return nil, err
	}
	var doc struct{ Volumes []labelled }
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("read the engine's list: %w", err)
	}
	return doc.Volumes, nil
}

// dropVolume removes a volume, unless a container has it by now.
func (c *call) dropVolume(v volume.Record) (gone bool, err error) {
	ctx := context.WithoutCancel(c.r.Context())
	defer c.Registrar.LockVolumes(v.EngineName)()
	resp, err := c.ask(ctx, http.MethodDelete, "/volumes/"+v.EngineName, nil, nil)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close() //nolint:errcheck // only its status is read
	if resp.StatusCode >= http.StatusMultipleChoices {
		return false, nil
	}
	return true, c.Registrar.ForgetVolume(ctx, v.EngineName)
}

// volumeSizes returns how much each volume holds, by the engine's names.
func (c *call) volumeSizes() (map[string]int64, error) {
	data, err := c.measure()
	if err != nil {
		return nil, err
	}
	var doc struct {
		Volumes []struct {
			Name      string
			UsageData struct{ Size int64 }
		}
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("read the engine's answer: %w", err)
	}
	sizes := map[string]int64{}
	for _, v := range doc.Volumes {
		sizes[v.Name] = max(0, v.UsageData.Size)
	}
	return sizes, nil
}
