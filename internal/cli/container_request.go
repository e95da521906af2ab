package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/wizard"
)

// requestFlags are the flags that say what container is wanted.
type requestFlags struct {
	image     string
	gpus      gpuFlags
	workspace string
	data      string
	models    string
	restart   string
	keep      bool
	time      string
	waitFlags
}

func (f *requestFlags) register(set *pflag.FlagSet) {
	f.waitFlags.register(set)
	set.StringVarP(&f.image, "image", "i", "", "`IMAGE` to start from (default: the host's)")
	f.gpus.register(set)
	set.StringVarP(&f.workspace, "workspace", "w", "", "`DIR` that is /workspace (default ~/workspace/NAME, made if missing)")
	set.StringVarP(&f.data, "data", "d", "", "`DIR` that is /data")
	set.StringVar(&f.models, "models", "", "`DIR` that is /models")
	set.StringVar(&f.restart, "restart", "", restartUsage+" (default no)")
	set.BoolVar(&f.keep, "keep-container", false, keepUsage)
	set.StringVar(&f.time, "time", "", timeUsage)
}

func (f *requestFlags) check(args []string) error {
	if len(args) > 1 && f.image != "" {
		return usage("two images are given", args[1]+" and --image "+f.image, "Leave one of them out.")
	}
	return checkRestart(f.restart)
}

// request makes of flags, arguments and, if need be, answers what the API is
// asked for. madeDir is the workspace directory if it was made here.
func (a *app) request(ctx context.Context, c *client.Client, f *requestFlags, args []string) (r apitype.CreateContainer, madeDir string, err error) {
	if err := f.check(args); err != nil {
		return r, "", err
	}
	want, err := f.gpus.request()
	if err != nil {
		return r, "", err
	}
	if r.TimeSeconds, err = secondsOf(f.time); err != nil {
		return r, "", err
	}
	askGPUs(&r, want)
	r.Image, r.Restart, r.Keep = f.image, f.restart, f.keep
	if len(args) > 1 {
		r.Image = args[1]
	}
	if len(args) > 0 {
		r.Name = args[0]
	} else if err := a.askRequest(ctx, c, f, &r); err != nil {
		return r, "", err
	}
	if !account.ValidContainerName(r.Name) {
		return r, "", usage(fmt.Sprintf("a container can't be called %q", r.Name),
			"a name is letters, digits, '_', '.' and '-' and begins with a letter or digit", "Choose another name.")
	}
	if r.Data, err = existing("data", f.data); err != nil {
		return r, "", err
	}
	if r.Models, err = existing("models", f.models); err != nil {
		return r, "", err
	}
	if f.workspace != "" {
		r.Workspace, err = existing("workspace", f.workspace)
		return r, "", err
	}
	r.Workspace, madeDir, err = a.defaultWorkspace(ctx, c, r.Name)
	return r, madeDir, err
}

func (a *app) askRequest(ctx context.Context, c *client.Client, f *requestFlags, r *apitype.CreateContainer) error {
	if !a.interactive() {
		return usage("no container named", "the command needs a NAME, and stdin is not a terminal to ask on",
			"Write it behind the command, such as 'ds01 container deploy web'.")
	}
	version, err := c.Version(ctx)
	if err != nil {
		return err
	}
	form := wizard.DeployForm{DefaultImage: version.DefaultImage, Image: f.image, AskGPUs: !f.gpus.given()}
	if form.AskGPUs {
		why, err := c.WhyGPUs(ctx, "")
		if err != nil {
			return err
		}
		form.GPUs, form.Explain = gpuPage(why), func() error { return a.explain(ctx, gpuGuide) }
	}
	answers, err := wizard.AskDeploy(a.form(ctx), form)
	if err != nil {
		return err
	}
	r.Name, r.Image = answers.Name, answers.Image
	if !form.AskGPUs {
		return nil
	}
	askGPUs(r, nil)
	if answers.GPUs == "" {
		return nil
	}
	want, err := gpu.ParseRequest(answers.GPUs)
	askGPUs(r, &want)
	return err
}

const gpuGuide = "A GPU makes training fast; writing code and reading data need none. A big GPU may be divided into instances: " +
	"the smallest is enough to begin with, and what you hold counts against your limits until you give it back. " +
	"A program uses one instance, so take a larger one rather than several."

// gpuPage is what the form shows of GPUs.
func gpuPage(why apitype.GPUWhy) (page wizard.GPUPage) {
	for _, k := range why.Kinds {
		kind := wizard.GPUKind{Name: k.Profile, Memory: size(k.MemoryBytes), Share: k.ShareText, Free: k.Free, Total: k.Total, Most: k.Most}
		if k.Refusal != nil {
			kind.Blocked = k.Refusal.Detail
		}
		page.Kinds, page.Most = append(page.Kinds, kind), page.Most+k.Most
	}
	for _, l := range why.Limits {
		if n, err := strconv.Atoi(l.Value); err == nil && l.Key == "max_gpus_per_container" {
			page.Most = min(page.Most, n)
		}
	}
	for _, u := range why.Usage {
		if u.Key != "max_mig_instances" {
			continue
		}
		page.Usage = "you hold " + u.Text
		if !u.Unlimited {
			page.Usage, page.Most = page.Usage+" devices", min(page.Most, int(u.Limit-u.Used))
		}
	}
	return page
}

// existing returns the absolute path of a directory that a flag names, "" for
// an empty flag.
func existing(flag, dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	if rest, ok := strings.CutPrefix(dir, "~/"); ok { // "--data=~/x": the shell leaves it
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find your home directory: %w", err)
		}
		dir = filepath.Join(home, rest)
	}
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", dir, err)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", usage("--"+flag+" "+dir+" is not there", "no such directory", "Make it first: mkdir -p "+path)
	case err != nil:
		return "", usage("--"+flag+" "+dir+" can't be used", err.Error(), "Choose a directory that you may read.")
	case !info.IsDir():
		return "", usage("--"+flag+" "+dir+" can't be used", "it is not a directory", "Name the directory.")
	}
	return path, nil
}

// defaultWorkspace returns ~/workspace/NAME, and the path again if it had to
// be made. An admin who acts for somebody else makes nothing in their home.
func (a *app) defaultWorkspace(ctx context.Context, c *client.Client, name string) (dir, made string, err error) {
	if a.user != "" {
		return "", "", nil
	}
	me, err := c.Me(ctx)
	if err != nil {
		return "", "", err
	}
	dir = filepath.Join(me.Home, "workspace", name)
	if _, err := os.Stat(dir); err == nil {
		return dir, "", nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", "", &problem.Error{
			What: "cannot make the workspace " + dir,
			Why:  err,
			Next: "Name a directory of yours with --workspace DIR.",
		}
	}
	return dir, dir, nil
}
