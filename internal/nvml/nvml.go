// Package nvml speaks to the NVIDIA driver: cards, MIG instances, their device
// nodes and what they read. It decides nothing about who gets them. The
// simulated driver is in the package sim below it; both keep the contract that
// nvmltest states.
package nvml

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	driver "github.com/NVIDIA/go-nvml/pkg/nvml"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// A Driver is the NVIDIA driver of this host. Its methods may be called
// concurrently. Errors wrap ErrNotFound for an unknown UUID, ErrInvalid for
// what a card doesn't offer, ErrConflict for what stands in the way now and
// ErrUnavailable for a card or driver that doesn't answer.
type Driver struct {
	lib  driver.Interface
	proc fs.FS

	mu   sync.Mutex
	seen map[int]gpu.Card // each card as it was when it last answered, by index
}

// Open loads libnvidia-ml.so.1 and starts it. A host without a working driver
// is ErrUnavailable.
func Open() (*Driver, error) { return New(driver.New(), os.DirFS("/proc")) }

// New starts lib, and reads the numbers of device nodes from proc, the root of
// a proc file system.
func New(lib driver.Interface, proc fs.FS) (*Driver, error) {
	if ret := lib.Init(); ret != driver.SUCCESS {
		return nil, noDriver(ret)
	}
	return &Driver{lib: lib, proc: proc, seen: make(map[int]gpu.Card)}, nil
}

// Close ends the use of the driver.
func (d *Driver) Close() error {
	if ret := d.lib.Shutdown(); ret != driver.SUCCESS {
		return failed("close the NVIDIA driver", ret)
	}
	return nil
}

// DriverVersion returns the version of the kernel driver, "550.54.15".
func (d *Driver) DriverVersion(context.Context) (string, error) {
	v, ret := d.lib.SystemGetDriverVersion()
	if ret != driver.SUCCESS {
		return "", failed("read the driver version", ret)
	}
	return v, nil
}

// noDriver says in plain words why the driver doesn't start.
func noDriver(ret driver.Return) error {
	why := "the NVIDIA driver doesn't start: " + ret.Error()
	next := "Check that 'nvidia-smi' works"
	switch ret {
	case driver.ERROR_LIBRARY_NOT_FOUND:
		why, next = "no NVIDIA driver: libnvidia-ml.so.1 not found", "Install the NVIDIA driver"
	case driver.ERROR_DRIVER_NOT_LOADED:
		why, next = "the NVIDIA kernel module isn't loaded", "Load it with 'modprobe nvidia', or reboot"
	case driver.ERROR_LIB_RM_VERSION_MISMATCH:
		why, next = "the NVIDIA library and the loaded kernel module have different versions", "Reboot to finish the driver upgrade"
	default:
	}
	return &problem.Error{
		What: "GPUs not available", Why: problem.Because(problem.ErrUnavailable, why),
		Next: next + ", or set 'gpu.provider: sim' in ds01.yaml to work with simulated cards.",
	}
}

// failed is a driver's answer as an error of the kind it means.
func failed(doing string, ret driver.Return) error {
	kinds := map[driver.Return]error{
		driver.ERROR_IN_USE:                 problem.ErrConflict,
		driver.ERROR_INSUFFICIENT_RESOURCES: problem.ErrConflict,
		driver.ERROR_NOT_SUPPORTED:          problem.ErrInvalid,
		driver.ERROR_INVALID_ARGUMENT:       problem.ErrInvalid,
		driver.ERROR_NO_PERMISSION:          problem.ErrDenied,
		driver.ERROR_NOT_FOUND:              problem.ErrNotFound,
		driver.ERROR_GPU_IS_LOST:            problem.ErrUnavailable,
		driver.ERROR_RESET_REQUIRED:         problem.ErrUnavailable,
		driver.ERROR_GPU_NOT_FOUND:          problem.ErrUnavailable,
		driver.ERROR_UNINITIALIZED:          problem.ErrUnavailable,
	}
	kind, ok := kinds[ret]
	if !ok {
		return fmt.Errorf("%s: %w", doing, errors.New(ret.Error()))
	}
	return fmt.Errorf("%s: %w", doing, problem.Because(kind, ret.Error()))
}

func unknown(uuid string) error {
	return &problem.Error{
		What: "device " + uuid, Why: problem.Because(problem.ErrNotFound, "no card or instance has this UUID"),
		Next: "Run 'ds01 gpu list' to see the devices.",
	}
}

func refuse(kind error, what, why, next string) error {
	return &problem.Error{What: what, Why: problem.Because(kind, why), Next: next}
}
