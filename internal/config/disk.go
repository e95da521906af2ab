package config

import "ds01.dev/ds01/internal/quantity"

// Disk says how much of the engine's disk stays free, whatever people do with
// images.
type Disk struct {
	KeepFree string `yaml:"keep_free"` // auto, or a size such as 50GiB
}

// What auto keeps free: so much, or one part in so many of a small disk.
const (
	autoFree = quantity.ByteSize(10 << 30)
	autoPart = 20
)

// Floor returns how much of a disk of that size stays free. It is valid once
// Decode or Default made d.
func (d Disk) Floor(total quantity.ByteSize) quantity.ByteSize {
	if size, err := quantity.ParseByteSize(d.KeepFree); err == nil {
		return size
	}
	return min(autoFree, total/autoPart)
}

func (d Disk) validate() error {
	if d.KeepFree == Auto {
		return nil
	}
	if _, err := quantity.ParseByteSize(d.KeepFree); err != nil {
		return fault("disk.keep_free", "%s; auto is possible too", err)
	}
	return nil
}
