package dockerfile_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/docker/dockerfile"
	"ds01.dev/ds01/internal/problem"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 5, time.UTC)

// id is a full id made of one digit.
func id(n int) string { return "sha256:" + strings.Repeat(strconv.Itoa(n%10), 64) }

// write reads a Dockerfile, gives its bases ids in their order, and returns what
// they are and what the engine gets.
func write(text string, args map[string]*string, target string) (bases []string, sent string, shown []admission.Shown, err error) {
	d, err := dockerfile.Reader{}.Read([]byte(text))
	if err != nil {
		return nil, "", nil, err
	}
	r, err := admission.ReadRecipe(d, args, target, dockerfile.Reader{})
	if err != nil {
		return nil, "", nil, err
	}
	ids, grounds := make([]string, len(r.Bases)), make([]admission.Ground, len(r.Bases))
	for i, b := range r.Bases {
		bases, ids[i], grounds[i] = append(bases, b.Reference), id(i+1), admission.Ground{Env: []string{"HOME=/root"}, Dir: "/srv"}
	}
	if err := r.CheckDirs(grounds, dockerfile.Reader{}); err != nil {
		return bases, "", nil, err
	}
	ours, shown := r.Write(ids, 7, noon)
	return bases, string(ours), shown, nil
}

const mine = "\nLABEL aime.mlc.DS01_UID=7 aime.mlc.DS01_CLAIM=\"\""

func TestImagesAreNamedByTheirIDs(t *testing.T) {
	given := "2"
	for name, c := range map[string]struct {
		text, target string
		bases        string
		sent         string
	}{
		"one image":                      {"FROM x\nRUN a", "", "x", "FROM " + id(1) + mine + "\nRUN a\n"},
		"no image":                       {"FROM scratch\nADD a /", "", "", "FROM scratch" + mine + " aime.mlc.DS01_CREATED=2026-01-02T12:00:00.000000005Z\nADD a /\n"},
		"a variable with a default":      {"ARG V=\"1\"\nFROM x:${V}", "", "x:1", "ARG V=\"1\"\nFROM " + id(1) + mine + "\n"},
		"a variable that is given":       {"ARG G=1\nARG H=$G$G\nFROM x:$H", "", "x:22", "ARG G=1\nARG H=$G$G\nFROM " + id(1) + mine + "\n"},
		"a variable that isn't declared": {"FROM x:${G:-none}", "", "x:none", "FROM " + id(1) + mine + "\n"},
		"stages":                         {"FROM x AS A\nFROM a\nCOPY --from=A /b /\nCOPY --chown=1 --from=0 /b /\nCOPY --from=y:1 --chmod=7 c d", "", "x y:1", "FROM " + id(1) + " AS a" + mine + "\nFROM a\nCOPY --from=a /b /\nCOPY --chown=1 --from=0 /b /\nCOPY --chmod=7 --from=" + id(2) + " c d\n"},
		"a stage that comes later":       {"FROM x\nCOPY --from=b a /\nFROM y AS b", "", "x b y", "FROM " + id(1) + mine + "\nCOPY --from=" + id(2) + " a /\nFROM " + id(3) + " AS b" + mine + "\n"},
		"a target":                       {"FROM x AS a\nRUN a\nFROM y AS b\nRUN b", "A", "x", "FROM " + id(1) + " AS a" + mine + "\nRUN a\n"},
		"a target by its number":         {"FROM x\nFROM y\nRUN b\nFROM z", "1", "x y", "FROM " + id(1) + mine + "\nFROM " + id(2) + mine + "\nRUN b\n"},
		"one image twice":                {"FROM x\nFROM x\nCOPY --from=x a b", "", "x x", "FROM " + id(1) + mine + "\nFROM " + id(1) + mine + "\nCOPY --from=" + id(2) + " a b\n"},
		"another escape":                 {"# escape=`\nFROM x\nRUN a `\n  b\\", "", "x", "# escape=`\nFROM " + id(1) + mine + "\nRUN a   b\\\n"},
		"a platform":                     {"ARG P=linux/arm64\nFROM --platform=$P x", "", "x", "ARG P=linux/arm64\nFROM --platform=linux/arm64 " + id(1) + mine + "\n"},
		"comments and lines that go on":  {"# syntax=evil/frontend\n# FROM y\nFROM \\\n# no\n\n x\nRUN a && \\\n  # FROM z\n  b", "", "x", "FROM " + id(1) + mine + "\nRUN a &&   b\n"},
		"lines of another system":        {"\ufeffFROM x\r\nRUN a \\\r\n b\r\n", "", "x", "FROM " + id(1) + mine + "\nRUN a  b\n"},
		"sources that may be addresses":  {"FROM x\nADD $A b /\nADD [\"$A\",\"/\"]\nADD a b /", "", "x", "FROM " + id(1) + mine + "\nADD ./$A ./b /\nADD [\"./$A\",\"/\"]\nADD a b /\n"},
	} {
		t.Run(name, func(t *testing.T) {
			bases, sent, _, err := write(c.text, map[string]*string{"G": &given, "N": nil}, c.target)
			if err != nil || strings.Join(bases, " ") != c.bases || sent != c.sent {
				t.Errorf("%v of\n%s, want %s of\n%s\n%v", bases, sent, c.bases, c.sent, err)
			}
		})
	}
}

func TestWhatABuildMustNotSay(t *testing.T) {
	proc := "proc"
	for text, kind := range map[string]error{
		"":                                   problem.ErrInvalid,
		"FROM":                               problem.ErrInvalid,
		"FROM x y":                           problem.ErrInvalid,
		"FROM x AS 1":                        problem.ErrInvalid,
		"FROM $NONE":                         problem.ErrInvalid,
		"FROM --x=y z":                       problem.ErrInvalid,
		"FROM --platform=\"a b\" z":          problem.ErrInvalid,
		"RUN a":                              problem.ErrInvalid,
		"FROM x\nNONE":                       problem.ErrInvalid,
		"FROM x\nCOPY --from=0 a b":          problem.ErrInvalid,
		"FROM x\nCOPY --from=-1 a b":         problem.ErrInvalid,
		"FROM x\nCOPY --from=$G a b":         problem.ErrInvalid,
		"FROM x\nCOPY --from=a --from=b a b": problem.ErrInvalid,
		"FROM x\nCOPY --fro\\m=a a b":        problem.ErrDenied,
		"FROM x\nCOPY --from=\"a\" a b":      problem.ErrDenied,
		"FROM x\nCOPY -- --from=a a b":       problem.ErrDenied,
		"FROM x\nRUN --network=host a":       problem.ErrDenied,
		"FROM x\nRUN <<EOF\nFROM y\nEOF":     problem.ErrDenied,
		"FROM x\nCOPY <<EOF /a\nb\nEOF":      problem.ErrDenied,
		"FROM x\nRUN a \\\\\nFROM y":         problem.ErrDenied,
		"FROM x\nRUN a\rFROM y":              problem.ErrDenied,
		"FROM x\nADD http://a /":             problem.ErrDenied,
		"FROM x\nADD HTTPS://a /":            problem.ErrDenied,
		"FROM x\nADD b \"http://a\" /":       problem.ErrDenied,
		"FROM x\nADD git@a:b /":              problem.ErrDenied,
		"FROM x\nLABEL aime.mlc=a":           problem.ErrDenied,
		"FROM x\nLABEL a=b 'ds01.x'=c":       problem.ErrDenied,
		"FROM x\nLABEL ${A}=c":               problem.ErrDenied,
		"FROM x\nLABEL a\\ime.mlc=c":         problem.ErrDenied,
		"FROM x\nWORKDIR /proc/self/fd/7":    problem.ErrDenied,
		"FROM x\nWORKDIR ../proc/self":       problem.ErrDenied,
		"FROM x\nARG P\nWORKDIR /$P":         problem.ErrDenied,
		"FROM x AS a\nENV A=/pr\nFROM a\nENV B=${A}oc\nWORKDIR $B":     problem.ErrDenied,
		"FROM x\nWORKDIR /${http_proxy:+x}/proc/self":                  problem.ErrDenied,
		"FROM x\nENV A=$HTTP_PROXY":                                    problem.ErrDenied,
		"FROM x\nONBUILD ADD http://a /":                               problem.ErrDenied,
		"FROM x\nONBUILD COPY --from=y a b":                            problem.ErrDenied,
		"FROM x AS a\nONBUILD WORKDIR /\nFROM a\nWORKDIR ../proc/self": problem.ErrDenied,
	} {
		if _, sent, _, err := write(text, map[string]*string{"P": &proc}, ""); !errors.Is(err, kind) {
			t.Errorf("%q: %v, want %v; sent %q", text, err, kind, sent)
		}
	}
	if _, _, _, err := write("FROM x AS a", nil, "b"); !errors.Is(err, problem.ErrInvalid) {
		t.Errorf("a target that isn't there: %v", err)
	}
}

func TestADirectoryMayBeNamedByVariables(t *testing.T) {
	for _, text := range []string{
		"FROM x\nENV A=/a B=$A/b\nWORKDIR $B\nWORKDIR c", "FROM x\nARG http_proxy\nENV A=$http_proxy", "FROM x\nWORKDIR $HOME", "ARG A=/a\nFROM x\nARG A\nWORKDIR $A",
		"FROM x\nONBUILD RUN a\nONBUILD ENV a=b",
	} {
		if _, _, _, err := write(text, nil, ""); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTriggersOfAnImageAreHeldToTheSame(t *testing.T) {
	for _, text := range []string{
		"RUN a", "RUN --mount=x a", "ADD http://a /", "ADD $a /", "COPY --from=x a b", "FROM x", "ONBUILD RUN a", "LABEL aime.mlc=x", "RUN a\nADD http://a /", "# escape=`\nRUN a", "RUN <<E\nE", "RUN a \\", "NONE", "",
	} {
		if _, err := admission.ReadTrigger(text, "x", false, dockerfile.Reader{}); !errors.Is(err, problem.ErrDenied) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"COPY . /all", "ADD a.tar /", "ENV a=b", "USER x", "CMD a"} {
		if _, err := admission.ReadTrigger(text, "x", false, dockerfile.Reader{}); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := admission.ReadTrigger("RUN a", "x", true, dockerfile.Reader{}); err != nil {
		t.Errorf("RUN without a cache: %v", err)
	}
}

func TestWhatIsLeftOutOfAContext(t *testing.T) {
	for ignore, want := range map[string]bool{"": false, "Docker*": true, "*\n!Dockerfile": false, "**": true, "# Dockerfile": false, "/Dockerfile\n": true} {
		if got, err := (dockerfile.Reader{}).Ignored([]byte(ignore), "Dockerfile"); err != nil || got != want {
			t.Errorf("%q: %v, %v", ignore, got, err)
		}
	}
	if _, err := (dockerfile.Reader{}).Ignored([]byte("[a"), "b"); !errors.Is(err, problem.ErrInvalid) {
		t.Errorf("a pattern that is none: %v", err)
	}
}

// FuzzRecipe: whatever Dockerfile is accepted, the one that the engine gets is
// built on ids and stages only, begins each stage with the person's label, and
// fetches nothing; and each of its steps is told in the person's words.
func FuzzRecipe(f *testing.F) {
	for _, text := range []string{
		"FROM x", "ARG A=b\nFROM ${A}:1 AS c\nADD $x y /\nFROM c\nCOPY --from=c a b", "# escape=`\nFROM x `\n as y\nRUN [\"a\"]", "FROM scratch\nCOPY --from=y a b\nONBUILD RUN a",
		"FROM x\nRUN a \\\n# b\n\nc\nLABEL a=b\nENV a b\nWORKDIR $a", "FROM x\nRUN <<A\nb\nA", "FROM x\nADD [\"$a\", \"b\"]",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, sent, shown, err := write(text, nil, "")
		if err != nil {
			return
		}
		again, err := dockerfile.Reader{}.Read([]byte(sent))
		if err != nil {
			t.Fatalf("not read again: %v\n%s", err, sent)
		}
		if len(again.Instructions) != len(shown) {
			t.Fatalf("%d steps told as %d:\n%s", len(again.Instructions), len(shown), sent)
		}
		var stages []string
		for n, i := range again.Instructions {
			switch i.Verb {
			case "FROM":
				stages = append(stages, checkFrom(t, again.Instructions, n, stages))
			case "COPY":
				for _, flag := range i.Flags {
					if from, some := strings.CutPrefix(flag, "--from="); some {
						checkSource(t, from, stages)
					}
				}
			case "ADD":
				for _, word := range i.Words[:max(0, len(i.Words)-1)] {
					value, err := dockerfile.Reader{}.Expand(word, again.Escape, []string{"a=http://127.0.0.1/x", "x=https://a", "A=http://b"})
					if err == nil && (strings.HasPrefix(value, "http://") || strings.HasPrefix(value, "https://")) {
						t.Fatalf("%q fetches %q", i.Text, value)
					}
				}
			}
		}
	})
}

// checkFrom returns the name of a stage.
func checkFrom(t *testing.T, all []admission.Instruction, n int, stages []string) (name string) {
	t.Helper()
	image := all[n].Words[0]
	if len(all[n].Words) == 3 {
		name = all[n].Words[2]
	}
	if slices.Contains(stages, image) {
		return name
	}
	if image != "scratch" && !strings.HasPrefix(image, "sha256:") {
		t.Fatalf("%q is built on", all[n].Text)
	}
	if n+1 >= len(all) || !strings.HasPrefix(all[n+1].Text, fmt.Sprintf("LABEL %s=7 ", "aime.mlc.DS01_UID")) {
		t.Fatalf("%q isn't followed by the label", all[n].Text)
	}
	return name
}

func checkSource(t *testing.T, from string, stages []string) {
	t.Helper()
	n, err := strconv.Atoi(from)
	if !slices.Contains(stages, from) && !strings.HasPrefix(from, "sha256:") && (err != nil || n >= len(stages)-1) {
		t.Fatalf("files are copied from %q", from)
	}
}
