package admission

import (
	"errors"
	"fmt"
	"math"
	"path"
	"regexp"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// reviewTmpfs takes tmpfs mounts in both spellings, makes them nosuid and
// nodev, and gives each a size. What is in them counts as the container's
// memory, so none is larger than that; it runs after reviewMemory.
func reviewTmpfs(c *Create, s Subject, _ Grant) error {
	ask, err := c.Ask()
	if err != nil {
		return err
	}
	taken := map[string]bool{}
	for _, m := range ask.Mounts {
		taken[m.Target] = true
	}
	tmpfs := map[string]string{}
	add := func(target string, options []string, size int64) error {
		if target = path.Clean(target); taken[target] {
			return refuse(problem.ErrInvalid, notCreated, fmt.Sprintf("two mounts go to %s", target), "Give each mount a path of its own.")
		}
		taken[target] = true
		bounded, err := sizeOfTmpfs(s, target, size, c.HostConfig.Memory)
		if err != nil {
			return err
		}
		if bounded > 0 {
			options = append(options, fmt.Sprintf("size=%d", bounded))
		}
		tmpfs[target] = strings.Join(append([]string{"nosuid", "nodev"}, options...), ",")
		return nil
	}
	for target, text := range c.HostConfig.Tmpfs {
		if err := checkTarget(path.Clean(target)); err != nil {
			return err
		}
		options, size, err := tmpfsOptions(text)
		if err != nil {
			return err
		}
		if err := add(target, options, size); err != nil {
			return err
		}
	}
	for _, m := range ask.Tmpfs {
		options, size := readTmpfs(m)
		if err := add(m.Target, options, size); err != nil {
			return err
		}
	}
	c.HostConfig.Tmpfs = tmpfs
	return nil
}

// sizeOfTmpfs returns the size asked for, or the container's memory where none
// was. Without a limit of memory nothing bounds it but the kernel.
func sizeOfTmpfs(s Subject, target string, asked, memory int64) (int64, error) {
	switch {
	case memory <= 0:
		return asked, nil
	case asked <= 0: // the kernel would read 0 as without end
		return memory, nil
	case asked > memory:
		text := func(n int64) string { return quantity.ByteSize(n).String() }
		return 0, &problem.Error{
			What: notCreated,
			Why: problem.Because(problem.ErrLimit, fmt.Sprintf("a tmpfs of %s at %s is over the container's memory of %s, which its files count as (memory: %s)",
				text(asked), target, text(memory), s.Limits.Source("memory"))),
			Next: fmt.Sprintf("Ask for a size of %s or less, or leave it away.", text(memory)),
			Code: "LIMIT_MEMORY",
		}
	}
	return asked, nil
}

// readTmpfs reads an entry of HostConfig.Mounts.
func readTmpfs(m MountPoint) (options []string, size int64) {
	if o := m.TmpfsOptions; o != nil {
		size = o.SizeBytes
		if o.Mode > 0 {
			options = append(options, fmt.Sprintf("mode=%o", o.Mode&0o1777))
		}
	}
	if m.ReadOnly {
		options = append(options, "ro")
	}
	return options, size
}

// tmpfsOptions reads the options of one --tmpfs and writes them anew. Numbers
// that the kernel could read otherwise are refused.
func tmpfsOptions(text string) (options []string, size int64, err error) {
	for o := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(o, "=")
		switch key {
		case "", "nosuid", "nodev": // they are anyway
		case "exec", "noexec", "ro", "rw":
			options, err = append(options, key), onlyWord(o, key)
		case "size":
			size, err = tmpfsSize(value)
		case "mode":
			var mode uint64
			mode, err = strconv.ParseUint(value, 8, 12)
			options = append(options, fmt.Sprintf("mode=%o", mode&0o1777))
		case "uid", "gid":
			var id uint64
			id, err = strconv.ParseUint(value, 10, 31)
			options = append(options, fmt.Sprintf("%s=%d", key, id))
		default:
			return nil, 0, denied(notCreated, fmt.Sprintf("tmpfs option %q is not served", o), "size, mode, uid, gid, exec and ro are.")
		}
		if err != nil {
			return nil, 0, refuse(problem.ErrInvalid, notCreated, fmt.Sprintf("tmpfs option %q can't be read", o), "Write it as in size=64m,mode=1777,uid=1000.")
		}
	}
	return options, size, nil
}

func onlyWord(option, word string) error {
	if option != word {
		return errors.New("it takes no value")
	}
	return nil
}

var sizeOfMemory = regexp.MustCompile(`^([1-9][0-9]{0,17}|0)([kKmMgGtT]?)$`)

// tmpfsSize reads bytes with an optional unit, as the kernel does.
func tmpfsSize(text string) (int64, error) {
	m := sizeOfMemory.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%q is no size", text)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return 0, err
	}
	shift := map[string]int{"": 0, "k": 10, "m": 20, "g": 30, "t": 40}[strings.ToLower(m[2])]
	if n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%q is beyond all sizes", text)
	}
	return n << shift, nil
}
