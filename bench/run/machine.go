package run

import (
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/milter-go/milter/bench/result"
)

// Machine describes where this runs.
func Machine() result.Machine {
	m := result.Machine{
		Date:   time.Now().UTC().Truncate(time.Second),
		CPU:    "unknown processor",
		CPUs:   runtime.NumCPU(),
		Kernel: runtime.GOOS,
		Go:     runtime.Version(),
	}
	info, _ := os.ReadFile("/proc/cpuinfo")
	if _, rest, ok := strings.Cut(string(info), "model name"); ok {
		model, _, _ := strings.Cut(rest, "\n")
		m.CPU = strings.Join(strings.Fields(strings.TrimLeft(model, " \t:")), " ")
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = "Linux " + strings.TrimSpace(string(release))
	}
	return m
}
