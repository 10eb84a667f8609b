// Package run builds the filters and the load generator, starts them, and measures
// one filter in one scenario.
package run

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/milter-go/milter/bench/result"
)

// A Bench is where the programs are. Its folder is temporary.
type Bench struct {
	Programs []result.Program
	LeftOut  []string // what could not be built, and why

	folder    string
	generator string
}

const module = "github.com/milter-go/milter"

// Build makes the programs. It works in the folder of the nested module or any
// below it. generator is a load generator to use in place of this module's; empty
// for that.
func Build(generator string) (*Bench, error) {
	folder, err := os.MkdirTemp("", "milter-bench-")
	if err != nil {
		return nil, err
	}
	b := &Bench{folder: folder, generator: generator}
	if err := b.build(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// Close removes the programs.
func (b *Bench) Close() error { return os.RemoveAll(b.folder) }

func (b *Bench) build() error {
	packages := map[string]string{"floor": module + "/bench/echo", "ours": module + "/bench/ours", "emersion": module + "/bench/emersion"}
	if b.generator == "" {
		b.generator = b.path("generator")
		packages["generator"] = module + "/cmd/milter-performance-check"
	}
	for name, pkg := range packages {
		if err := command("go", "build", "-o", b.path(name), pkg); err != nil {
			return err
		}
	}
	b.Programs = []result.Program{
		{Name: result.Floor, Version: "a bare echo loop in Go"},
		{Name: result.Ours, Version: "this library"},
	}
	if version, err := b.libmilter(); err != nil {
		b.LeftOut = append(b.LeftOut, fmt.Sprintf("libmilter: %v", err))
	} else {
		b.Programs = append(b.Programs, result.Program{Name: result.Libmilter, Version: "libmilter " + version + " of the system, in C"})
	}
	b.Programs = append(b.Programs, result.Program{Name: result.Emersion, Version: b.emersion()})
	b.LeftOut = append(b.LeftOut, "github.com/d--j/go-milter: there is no filter on it; its module could not be downloaded when the others were written")
	return nil
}

// libmilter builds the filter in C and returns the library's version.
func (b *Bench) libmilter() (string, error) {
	const header = "/usr/include/libmilter/mfapi.h"
	if _, err := os.Stat(header); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no %s (Debian: libmilter-dev)", header)
	}
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", module+"/bench/work").Output()
	if err != nil {
		return "", err
	}
	source := filepath.Join(filepath.Dir(strings.TrimSpace(string(dir))), "libmilter", "filter.c")
	if err := command("cc", "-O2", "-Wall", "-o", b.path(result.Libmilter), source, "-lmilter", "-lpthread"); err != nil {
		return "", err
	}
	version, err := exec.Command(b.path(result.Libmilter), "-version").Output()
	return strings.TrimSpace(string(version)), err
}

// emersion returns the version of the library in its filter.
func (b *Bench) emersion() string {
	const path = "github.com/emersion/go-milter"
	info, err := buildinfo.ReadFile(b.path(result.Emersion))
	if err == nil {
		for _, m := range info.Deps {
			if m.Path == path {
				return path + " " + m.Version
			}
		}
	}
	return path
}

func (b *Bench) path(name string) string { return filepath.Join(b.folder, name) }

// Has reports whether the program of a filter was built.
func (b *Bench) Has(filter string) bool {
	name, _, _ := strings.Cut(filter, "-")
	for _, p := range b.Programs {
		if p.Name == name {
			return true
		}
	}
	return false
}

// command runs a program; what it printed is in the error.
func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
