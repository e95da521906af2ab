package daemon

import (
	"encoding/json"
	"os"
	"path/filepath"

	"ds01.dev/ds01/internal/takeover"
)

// cutOff tells of a switch of the engine's user namespaces that was begun and not
// finished, as when the machine died in it: the engine has a part of the images.
func cutOff(root string) []string {
	data, err := os.ReadFile(filepath.Join("/", root, takeover.RemapFolder, takeover.ManifestFile)) //nolint:gosec // the installation's own file
	if err != nil {
		return nil // none was begun
	}
	var m takeover.Manifest
	if err := json.Unmarshal(data, &m); err == nil && m.Whole {
		return nil
	}
	return []string{"A switch of the engine's user namespaces isn't finished, and images may be missing: 'ds01 remap' goes on with it, 'ds01 remap --undo' takes it back."}
}
