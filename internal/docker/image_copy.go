package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/client"
)

// LayerBytes returns how much room all images take, in bytes; what several of
// them have counts once.
func (e *Engine) LayerBytes(ctx context.Context) (int64, error) {
	usage, err := e.api.DiskUsage(ctx, types.DiskUsageOptions{Types: []types.DiskUsageObject{types.ImageObject}})
	if err != nil {
		return 0, explain("measure images", err)
	}
	return usage.LayersSize, nil
}

// SaveImages returns an archive of images, each by its name or, where it
// shall have none, by its id. An archive that breaks off ends with an error.
func (e *Engine) SaveImages(ctx context.Context, references []string) (io.ReadCloser, error) {
	archive, err := e.api.ImageSave(ctx, references)
	if err != nil {
		return nil, explain("save images", err)
	}
	return archive, nil
}

// LoadImages makes the images of an archive, with their ids and names. A name
// that stood for another image stands for the archive's.
func (e *Engine) LoadImages(ctx context.Context, archive io.Reader) error {
	resp, err := e.api.ImageLoad(ctx, archive, client.ImageLoadWithQuiet(true))
	if err != nil {
		return explain("load images", err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	for messages := json.NewDecoder(resp.Body); ; {
		var message struct {
			Error string `json:"error"`
		}
		switch err := messages.Decode(&message); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return explain("load images", err)
		case message.Error != "":
			return fmt.Errorf("load images: %s", message.Error)
		}
	}
}
