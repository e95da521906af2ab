package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ds01.dev/ds01/internal/problem"
)

// The kinds that disk usage can be asked of.
const (
	usageContainers = "container"
	usageImages     = "image"
	usageVolumes    = "volume"
	usageCache      = "build-cache"
)

// A usage is the part of the engine's answer that ds01 knows how to show.
type usage struct {
	LayersSize  int64                        `json:"LayersSize"`
	Images      []map[string]json.RawMessage `json:"Images"`
	Containers  []jsontext.Value             `json:"Containers"`
	Volumes     []volumeView                 `json:"Volumes"`
	BuildCache  []cacheView                  `json:"BuildCache"`
	BuilderSize int64                        `json:"BuilderSize"`
}

// measure asks the engine how much there is of everything. It walks through
// all volumes and refuses to do so for two at a time.
func (c *call) measure() ([]byte, error) {
	select {
	case c.walks <- struct{}{}:
	case <-c.r.Context().Done():
		return nil, c.r.Context().Err()
	}
	defer func() { <-c.walks }()
	return c.fetch(c.r.Context(), http.MethodGet, "/system/df", url.Values{}, nil)
}

// diskUsage answers with what is the caller's: their containers and volumes,
// and the images they may use. Administrators see all.
func (c *call) diskUsage() error {
	kind := c.match.Query.Get("type")
	if !slices.Contains([]string{"", usageContainers, usageImages, usageVolumes, usageCache}, kind) {
		return &problem.Error{What: "Disk usage not told", Why: problem.Because(problem.ErrInvalid, fmt.Sprintf("there is no type %q", kind)), Next: "container, image, volume and build-cache are."}
	}
	data, err := c.measure()
	if err != nil {
		return err
	}
	if c.roles.Admin && kind == "" {
		return c.raw(http.StatusOK, data)
	}
	var all struct {
		LayersSize int64
		Images     []map[string]json.RawMessage
		Containers []jsontext.Value
		Volumes    []volumeView
		Rest       jsontext.Value `json:",embed"`
	}
	if err := jsonv2.Unmarshal(data, &all); err != nil {
		return fmt.Errorf("read the engine's answer: %w", err)
	}
	own := usage{Images: []map[string]json.RawMessage{}, Containers: []jsontext.Value{}, Volumes: []volumeView{}, BuildCache: []cacheView{}}
	if kind == "" || kind == usageContainers {
		err = c.usedByContainers(&own, all.Containers)
	}
	if err == nil && (kind == "" || kind == usageImages) {
		err = c.usedByImages(&own, all.Images, all.Containers, all.LayersSize)
	}
	if err == nil && (kind == "" || kind == usageCache) {
		err = c.usedByCache(&own)
	}
	if err != nil {
		return err
	}
	if kind == "" || kind == usageVolumes {
		c.usedByVolumes(&own, all.Volumes)
	}
	return c.views(own)
}

func (c *call) usedByContainers(own *usage, all []jsontext.Value) error {
	records := c.newestFirst()
	for _, row := range all {
		shown, err := c.show(nil, row, records, nil)
		if err != nil {
			return fmt.Errorf("edit the engine's list: %w", err)
		}
		if len(shown) > 0 {
			own.Containers = append(own.Containers, shown)
		}
	}
	return nil
}

// usedByImages counts the images the caller may use. Layers that several
// images share are counted once: what each has alone, and the largest shared
// part, but never more than there is.
func (c *call) usedByImages(own *usage, all []map[string]json.RawMessage, containers []jsontext.Value, total int64) error {
	users, err := c.imageUsers(containers)
	if err != nil {
		return err
	}
	v, err := c.Images.View(c.r.Context(), c.person())
	if err != nil {
		return err
	}
	var alone, shared int64
	for _, row := range all {
		visible, err := c.showImage(v, row, nil)
		if err != nil {
			return err
		}
		if !visible {
			continue
		}
		var size struct {
			ID               string `json:"Id"`
			Size, SharedSize int64
		}
		for key, into := range map[string]any{"Id": &size.ID, "Size": &size.Size, "SharedSize": &size.SharedSize} {
			if err := json.Unmarshal(row[key], into); err != nil {
				return fmt.Errorf("read the engine's list: %w", err)
			}
		}
		alone += size.Size - max(0, size.SharedSize)
		shared = max(shared, size.SharedSize)
		row["Containers"] = json.RawMessage(fmt.Sprint(users[size.ID]))
		own.Images = append(own.Images, row)
	}
	own.LayersSize = min(alone+shared, total)
	return nil
}

// imageUsers counts the caller's containers by the id of their image.
func (c *call) imageUsers(containers []jsontext.Value) (map[string]int, error) {
	users := map[string]int{}
	for _, data := range containers {
		var row struct {
			ID      string `json:"Id"`
			ImageID string
		}
		if err := json.Unmarshal(data, &row); err != nil {
			return nil, fmt.Errorf("read the engine's list: %w", err)
		}
		if record, ok := c.Ledger.ByContainer(row.ID); ok && record.UID == c.who.UID {
			users[row.ImageID]++
		}
	}
	return users, nil
}

func (c *call) usedByVolumes(own *usage, all []volumeView) {
	for _, v := range all {
		if record, known := c.Registrar.VolumeAt(v.Name); c.roles.Admin || known && record.UID == c.who.UID {
			own.Volumes = append(own.Volumes, c.showOwnVolume(v))
		}
	}
}
