package redteam

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// container makes and, if it should run, starts a container through the
// gateway.
func (s *Scene) container(ctx context.Context, who Person, name, body string, run bool) (string, error) {
	var answer []byte
	status, err := s.ask(ctx, who, "POST", "/containers/create?name="+name, body, &answer)
	if err != nil || status != http.StatusCreated {
		return "", orRefused("a container of "+who.Login, err, status, answer)
	}
	id := idOf(answer)
	s.later(func(ctx context.Context) error {
		status, err := s.ask(ctx, who, "DELETE", "/containers/"+id+"?force=1&v=1", "", nil)
		return left("a container of "+who.Login, status, err)
	})
	if !run {
		return id, nil
	}
	if status, err := s.ask(ctx, who, "POST", "/containers/"+id+"/start", "", &answer); err != nil || status != http.StatusNoContent {
		return "", orRefused("the start of a container of "+who.Login, err, status, answer)
	}
	return id, nil
}

func orRefused(what string, err error, status int, answer []byte) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return refusedError(what, status, answer)
}

// makeOwn makes the attacker's own container, which also shows what a
// container is like that asks for nothing.
func (s *Scene) makeOwn(ctx context.Context) error {
	body := s.facts.fill(`{"Image":"{image}","Cmd":["sh","-c","sleep 3600"],"OpenStdin":true,"Labels":{"{mark}":"1"}}`)
	id, err := s.container(ctx, s.Attacker, s.mark+"-own", body, true)
	if err != nil {
		return err
	}
	s.facts["{own}"] = id
	s.plain, err = s.inspect(ctx, id)
	if err != nil {
		return err
	}
	if pid := s.pid(ctx, id); pid > 0 {
		if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil && strings.Contains(string(data), "Seccomp:\t2") {
			s.facts["{seccomp}"] = "2"
		}
	}
	return nil
}

// makeVictim makes another person's containers and a command in one.
func (s *Scene) makeVictim(ctx context.Context) error {
	if s.Victim == nil {
		return nil
	}
	v, f := *s.Victim, s.facts
	name := s.mark + "-victim"
	hidden := s.secret("the name of another's container")
	body := fmt.Sprintf(`{"Image":%q,"Cmd":["sh","-c","echo %s; echo %s > /secret; sleep 3600"],"Env":["TOKEN=%s"],"Labels":{"%sv":"1","note":"%s"}%%s}`,
		s.Image, s.secret("the logs of another's container"), s.secret("a file in another's container"),
		s.secret("a variable of another's container"), s.mark, s.secret("a label of another's container"))
	id, err := s.container(ctx, v, name, fmt.Sprintf(body, s.gpuWish()), true)
	if err != nil {
		return err
	}
	if err := s.awaitFile(ctx, v, id, "/secret"); err != nil { // else an attack is blamed for it
		return err
	}
	stopped, err := s.container(ctx, v, hidden, fmt.Sprintf(`{"Image":%q,"Cmd":["touch","/started"],"Labels":{"%sv":"1"}}`, s.Image, s.mark), false)
	if err != nil {
		return err
	}
	var exec []byte
	if status, err := s.ask(ctx, v, "POST", "/containers/"+id+"/exec", `{"AttachStdout":true,"Cmd":["touch","/reached"]}`, &exec); err != nil || status != http.StatusCreated {
		return orRefused("a command of "+v.Login, err, status, exec)
	}
	maps.Copy(f, facts{
		"{victim}": id, "{victimshort}": short(id), "{victimprefix}": id[:5], "{victimletter}": id[:1], "{victimupper}": upper(short(id)),
		"{victimname}": name, "{victimengine}": name + "._." + strconv.Itoa(v.UID), "{stopped}": stopped,
		"{victimexec}": idOf(exec), "{victimexecshort}": short(idOf(exec)), "{victimlogin}": v.Login, "{victimuid}": strconv.Itoa(v.UID),
		"{victimcache}": fmt.Sprintf("ds01-%d/%s", v.UID, s.mark),
	})
	look, err := s.inspect(ctx, id)
	if err != nil {
		return err
	}
	f["{victimcgroup}"] = look.HostConfig.CgroupParent
	f["{victimclaim}"] = look.Config.Labels["aime.mlc.DS01_CLAIM"]
	s.noteGPU(look)
	return nil
}

// awaitFile waits until a container of a person's has a file.
func (s *Scene) awaitFile(ctx context.Context, who Person, id, path string) error {
	patience, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		status, err := s.ask(patience, who, "GET", "/containers/"+id+"/archive?path="+path, "", nil)
		if err != nil || status == http.StatusOK {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-patience.Done():
			return fmt.Errorf("wait for %s in a container of %s: status %d", path, who.Login, status)
		}
	}
}

// makeHidden makes a volume of the victim's of which nobody else may hear.
// Where the gateway makes none, nothing can be heard.
func (s *Scene) makeHidden(ctx context.Context) error {
	if s.Victim == nil {
		return nil
	}
	name := s.secret("the name of another's volume")
	status, err := s.ask(ctx, *s.Victim, "POST", "/volumes/create", fmt.Sprintf(`{"Name":%q}`, name), nil)
	if err != nil || status != http.StatusCreated {
		return err
	}
	s.later(func(ctx context.Context) error {
		status, err := s.ask(ctx, *s.Victim, "DELETE", "/volumes/"+name, "", nil)
		return left("a volume of "+s.Victim.Login, status, err)
	})
	return nil
}

func (s *Scene) gpuWish() string {
	if !s.GPU {
		return ""
	}
	return `,"HostConfig":{"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]]}]}`
}

// noteGPU remembers which device the victim holds.
func (s *Scene) noteGPU(look Inspection) {
	uuid := look.Config.Labels["aime.mlc.DS01_GPU_UUIDS"]
	for _, m := range look.Mounts {
		if strings.HasPrefix(m.Destination, "/dev/nvidia") && uuid != "" {
			s.facts["{victimgpu}"], s.facts["{victimnode}"], s.facts["{victimdev}"] = uuid, m.Source, m.Destination
		}
	}
}

// makeRoom makes, at the engine itself, a volume and a network that are the
// victim's. What the engine can't do here is left untried. It comes before the
// containers, so that it goes after them.
func (s *Scene) makeRoom(ctx context.Context) error {
	if s.Victim != nil && s.EngineSocket != "" {
		suffix := "._." + strconv.Itoa(s.Victim.UID)
		s.makeVolume(ctx, s.mark+"-vv"+suffix)
		s.makeNetwork(ctx, s.mark+"-vn"+suffix)
	}
	return nil
}

// makeImages makes, at the engine itself, an image that is the victim's, and
// a name that is everybody's. What the engine can't do here is left untried.
func (s *Scene) makeImages(ctx context.Context) error {
	if s.Victim == nil || s.EngineSocket == "" {
		return nil
	}
	f := s.facts
	repo := fmt.Sprintf("ds01-%s/%s", f["{victimuid}"], s.mark)
	config := fmt.Sprintf(`{"Labels":{"%sv":"1"}}`, s.mark)
	var image struct {
		ID string `json:"Id"`
	}
	if status, err := s.engine(ctx, "POST", "/commit?container="+f["{victim}"]+"&repo="+repo+"&tag=latest&pause=0", config, &image); err == nil && status == http.StatusCreated {
		id := strings.TrimPrefix(image.ID, "sha256:")
		f["{victimrepo}"], f["{victimimage}"] = repo, repo+":latest"
		f["{victimimageid}"], f["{victimimageprefix}"] = id, short(id)
		s.later(func(ctx context.Context) error { return s.dropImage(ctx, repo+":latest") })
	}
	if status, err := s.engine(ctx, "POST", "/images/"+s.Image+"/tag?repo="+s.mark+"-shared&tag=v1", "", nil); err == nil && status == http.StatusCreated {
		f["{sharedrepo}"], f["{sharedtag}"], f["{shared}"] = s.mark+"-shared", "v1", s.mark+"-shared:v1"
		s.later(func(ctx context.Context) error { return s.dropImage(ctx, s.mark+"-shared:v1") })
	}
	return nil
}

func (s *Scene) dropImage(ctx context.Context, name string) error {
	status, err := s.engine(ctx, "DELETE", "/images/"+name+"?force=1", "", nil)
	return left("the image "+name, status, err)
}

// left is the error about what could not be taken away.
func left(what string, status int, err error) error {
	if err == nil && status >= http.StatusBadRequest && status != http.StatusNotFound {
		err = fmt.Errorf("status %d", status)
	}
	if err != nil {
		return fmt.Errorf("%s of the red team's is left: %w", what, err)
	}
	return nil
}

func (s *Scene) makeVolume(ctx context.Context, name string) {
	var v struct{ Mountpoint string }
	status, err := s.engine(ctx, "POST", "/volumes/create", fmt.Sprintf(`{"Name":%q,"Labels":{"%sv":"1"}}`, name, s.mark), &v)
	if err != nil || status != http.StatusCreated {
		return
	}
	s.facts["{victimvolume}"] = name
	s.later(func(ctx context.Context) error {
		status, err := s.engine(ctx, "DELETE", "/volumes/"+name+"?force=1", "", nil)
		return left("the volume "+name, status, err)
	})
	_ = os.WriteFile(filepath.Join(v.Mountpoint, "secret"), []byte(s.secret("a file in another's volume")), 0o600) // without it nothing can be heard
}

// makeNetwork takes addresses that are reserved for measurements, which no
// lab uses.
func (s *Scene) makeNetwork(ctx context.Context, name string) {
	body := fmt.Sprintf(`{"Name":%q,"Driver":"bridge","Internal":true,"Labels":{"%sv":"1"},"IPAM":{"Config":[{"Subnet":"198.19.255.248/29"}]}}`, name, s.mark)
	status, err := s.engine(ctx, "POST", "/networks/create", body, nil)
	if err != nil || status != http.StatusCreated {
		return
	}
	s.facts["{victimnetwork}"] = name
	s.later(func(ctx context.Context) error {
		status, err := s.engine(ctx, "DELETE", "/networks/"+name, "", nil)
		return left("the network "+name, status, err)
	})
}

// nameSpaces lists the namespaces that no container of the attacker's may be
// in: the host's and the victim's.
func (s *Scene) nameSpaces(ctx context.Context) {
	pids := []int{os.Getpid()}
	if id := s.facts["{victim}"]; id != "" {
		if pid := s.pid(ctx, id); pid > 0 {
			pids = append(pids, pid)
		}
	}
	var own string
	if pid := s.pid(ctx, s.facts["{own}"]); pid > 0 {
		own, _ = os.Readlink(fmt.Sprintf("/proc/%d/ns/user", pid)) // as the kernel has it, or unknown
	}
	var all []string
	for _, pid := range pids {
		for _, kind := range []string{"pid", "net", "ipc", "uts", "mnt", "cgroup", "user"} {
			link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
			shared := kind == "user" && (own == "" || link == own) // as on an engine that doesn't remap
			if err == nil && !shared {
				all = append(all, link)
			}
		}
	}
	s.facts["{namespaces}"] = strings.Join(all, " ")
}

// pid returns the host's number of a container's first process, 0 where the
// engine can't be asked.
func (s *Scene) pid(ctx context.Context, id string) int {
	if s.EngineSocket == "" {
		return 0
	}
	var doc struct{ State struct{ Pid int } }
	if _, err := s.engine(ctx, "GET", "/containers/"+id+"/json", "", &doc); err != nil {
		return 0
	}
	return doc.State.Pid
}

// inspect asks the engine, or the gateway where the engine can't be asked.
func (s *Scene) inspect(ctx context.Context, id string) (Inspection, error) {
	var look Inspection
	path := "/containers/" + id + "/json"
	if s.EngineSocket != "" {
		_, err := s.engine(ctx, "GET", path, "", &look)
		return look, err
	}
	_, err := s.ask(ctx, s.Attacker, "GET", path, "", &look)
	return look, err
}
