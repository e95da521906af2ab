package config_test

import (
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/config"
)

func TestQueue(t *testing.T) {
	if q := config.Default().GPU.Queue; q.HoldFor() != 10*time.Minute || q.DockerWaitFor() != 0 {
		t.Errorf("by default: %+v", q)
	}
	c, err := config.Decode("ds01.yaml", []byte("version: 1\ngpu: {queue: {hold: 1h, docker_wait: 30s}}\n"))
	if err != nil || c.GPU.Queue.HoldFor() != time.Hour || c.GPU.Queue.DockerWaitFor() != 30*time.Second {
		t.Errorf("got %+v, %v", c.GPU.Queue, err)
	}
	for text, why := range map[string]string{
		"{hold: 30s}": "too short", "{hold: soon}": "gpu.queue.hold", "{docker_wait: 2h}": "too long", "{docker_wait: 5}": "gpu.queue.docker_wait",
	} {
		_, err := config.Decode("ds01.yaml", []byte("version: 1\ngpu:\n  queue: "+text+"\n"))
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
