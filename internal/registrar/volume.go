package registrar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/volume"
)

// Volume returns what uid means by a name: their own volume, by their name or
// the engine's.
func (r *Registrar) Volume(uid int, name string) (volume.Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, engineName := range []string{account.EngineName(name, uid), name} {
		if v, ok := r.volumes[engineName]; ok && v.UID == uid {
			return v, true
		}
	}
	return volume.Record{}, false
}

// VolumeAt returns the record of a volume by the engine's name.
func (r *Registrar) VolumeAt(engineName string) (volume.Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.volumes[engineName]
	return v, ok
}

// OwnerOfVolume returns who owns a volume, or owned it until a moment ago, by
// the engine's name.
func (r *Registrar) OwnerOfVolume(engineName string) (uid int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v, known := r.volumes[engineName]; known {
		return v.UID, true
	}
	t, ok := r.gone[volumeKey(engineName)]
	return t.uid, ok
}

// VolumesOf returns uid's volumes, by their names.
func (r *Registrar) VolumesOf(uid int) []volume.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	var own []volume.Record
	for _, v := range r.volumes {
		if v.UID == uid {
			own = append(own, v)
		}
	}
	slices.SortFunc(own, func(a, b volume.Record) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.EngineName, b.EngineName))
	})
	return own
}

// VolumeName returns the engine's name for what uid calls name, whether there
// is such a volume or not.
func (r *Registrar) VolumeName(uid int, name string) string {
	if v, ok := r.Volume(uid, name); ok {
		return v.EngineName
	}
	return account.EngineName(name, uid)
}

// LockVolumes keeps others from making and removing these volumes until it is
// undone.
func (r *Registrar) LockVolumes(engineNames ...string) (unlock func()) {
	var unlocks []func()
	slices.Sort(engineNames) // so that two never wait for each other
	for _, name := range slices.Compact(engineNames) {
		unlocks = append(unlocks, r.Lock("volume "+name))
	}
	return func() {
		for _, u := range slices.Backward(unlocks) {
			u()
		}
	}
}

// EnsureVolume makes sure that there is a volume of uid's called name. It is
// theirs before the engine is asked, so that no crash leaves it to nobody. The
// caller has locked it. Errors are of kind problem.ErrLimit where uid has as
// many as may be.
func (r *Registrar) EnsureVolume(ctx context.Context, uid int, name string, anonymous bool, labels map[string]string) (volume.Record, error) {
	v, known := r.Volume(uid, name)
	if known {
		return v, nil
	}
	v = volume.Record{EngineName: account.EngineName(name, uid), UID: uid, Name: name, Anonymous: anonymous, CreatedAt: r.Now().UTC()}
	if err := r.RoomForVolumes(uid, 1); err != nil {
		return v, err
	}
	if taken, err := r.Engine.HasVolume(ctx, v.EngineName); err != nil {
		return v, err
	} else if taken {
		return v, &problem.Error{
			What: "Volume " + name + " not created",
			Why:  problem.Because(problem.ErrConflict, "the engine has one of that name that ds01 doesn't know"),
			Next: "Choose another name, or ask your administrators to look at it.",
		}
	}
	if err := r.addVolume(ctx, v); err != nil {
		return v, err
	}
	err := r.Engine.CreateVolume(ctx, v.EngineName, labels)
	if definite(err) {
		return v, errors.Join(err, r.ForgetVolume(ctx, v.EngineName))
	}
	return v, err // a lost answer is looked up by Settle
}

// UseVolumes notes that a container is about to be made with these volumes, and
// returns those with which none was before. The caller has locked them.
func (r *Registrar) UseVolumes(ctx context.Context, engineNames []string) (fresh []string, err error) {
	for _, name := range engineNames {
		if v, known := r.VolumeAt(name); !known || v.Used {
			continue
		}
		if err := r.mark(ctx, name, true); err != nil {
			return fresh, err
		}
		fresh = append(fresh, name)
	}
	return fresh, nil
}

// DisuseVolumes takes that back: the container was not made.
func (r *Registrar) DisuseVolumes(ctx context.Context, fresh []string) error {
	for _, name := range fresh {
		if err := r.mark(ctx, name, false); err != nil {
			return err
		}
	}
	return nil
}

func (r *Registrar) mark(ctx context.Context, engineName string, used bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, known := r.volumes[engineName]
	if !known {
		return nil
	}
	if err := r.Store.MarkVolume(ctx, engineName, used); err != nil {
		return notStored("Use of volume "+v.Name+" not stored", err)
	}
	v.Used = used
	r.volumes[engineName] = v
	return nil
}

// RoomForVolumes refuses more volumes than a person may have.
func (r *Registrar) RoomForVolumes(uid, more int) error {
	limit := r.Config().Volumes.PerPerson
	if have := len(r.VolumesOf(uid)); more > 0 && have+more > limit {
		return &problem.Error{
			What: "Volume not created",
			Why:  problem.Because(problem.ErrLimit, fmt.Sprintf("you have %d volumes, the limit is %d (volumes.per_person in ds01.yaml)", have, limit)),
			Next: "Remove what you don't need: 'docker volume ls', then 'docker volume rm NAME'; -v with 'docker rm' takes those without a name along.",
			Code: "VOLUME_LIMIT",
		}
	}
	return nil
}

// definite reports whether an error of the engine means that nothing was made.
func definite(err error) bool {
	for _, kind := range []error{problem.ErrInvalid, problem.ErrDenied, problem.ErrNotFound, problem.ErrConflict} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// FoundVolumes makes volumes uid's that the engine shows in a container of
// theirs and nobody has: the engine made them with it.
func (r *Registrar) FoundVolumes(ctx context.Context, uid int, mounted []volume.Mounted) error {
	for _, m := range mounted {
		if _, known := r.VolumeAt(m.Name); known {
			continue
		}
		if v, ours := volume.Of(m.Name, uid, r.Now().UTC()); ours {
			if err := r.foundVolume(ctx, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Registrar) foundVolume(ctx context.Context, v volume.Record) error {
	defer r.LockVolumes(v.EngineName)()
	there, err := r.Engine.HasVolume(ctx, v.EngineName)
	if err != nil || !there {
		return err
	}
	return r.addVolume(ctx, v)
}

func (r *Registrar) addVolume(ctx context.Context, v volume.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.volumes[v.EngineName]; known {
		return nil
	}
	if err := r.Store.SaveVolume(ctx, v); err != nil {
		return notStored("Volume "+v.Name+" not stored", err)
	}
	r.volumes[v.EngineName] = v
	if err := r.Store.Flush(); err != nil { // nobody could tell whose it was
		return notStored("Volume "+v.Name+" not stored", err)
	}
	return nil
}

// ForgetVolume drops the record of a volume that is gone.
func (r *Registrar) ForgetVolume(ctx context.Context, engineName string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, known := r.volumes[engineName]
	if !known {
		return nil
	}
	if err := r.Store.DeleteVolume(ctx, engineName); err != nil {
		return err
	}
	delete(r.volumes, engineName)
	r.bury(volumeKey(engineName), v.UID)
	return nil
}

// SettleVolume forgets a volume that the engine doesn't have any more.
func (r *Registrar) SettleVolume(ctx context.Context, engineName string) error {
	defer r.LockVolumes(engineName)()
	if _, known := r.VolumeAt(engineName); !known {
		return nil
	}
	there, err := r.Engine.HasVolume(ctx, engineName)
	if err != nil || there {
		return err
	}
	return r.ForgetVolume(ctx, engineName)
}

func (r *Registrar) settleVolumes(ctx context.Context) error {
	listed, err := r.Engine.Volumes(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	var missing []string
	for name := range r.volumes {
		if !slices.Contains(listed, name) {
			missing = append(missing, name)
		}
	}
	r.mu.Unlock()
	for _, name := range missing {
		if err := r.SettleVolume(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
