package context_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A vectorGolden holds what we do where we differ, by the name of the exchange.
type vectorGolden struct{ want, got map[string]string }

func readVectorGolden(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile(vectorGoldenFile)
	if err != nil && !*updateVectors {
		t.Fatal(err)
	}
	sections := make(map[string]string)
	for section := range strings.SplitSeq("\n"+string(data), "\n## ") {
		if name, text, ok := strings.Cut(section, "\n"); ok && name != "" {
			sections[name] = strings.Trim(text, "\n") + "\n"
		}
	}
	return sections
}

func (g *vectorGolden) check(t *testing.T, name, text string) bool {
	g.got[name] = text
	if *updateVectors {
		return true
	}
	if diff := cmp.Diff(g.want[name], text); diff != "" {
		t.Errorf("differs from %s (-want +got); see -update:\n%s", vectorGoldenFile, diff)
		return false
	}
	return true
}

// finish writes the file, or sees to it that it has nothing that did not happen.
func (g *vectorGolden) finish(t *testing.T) {
	if !*updateVectors {
		for name := range g.want {
			if _, ok := g.got[name]; !ok {
				t.Errorf("%s has %q, which is not in the table of differences", vectorGoldenFile, name)
			}
		}
		return
	}
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(g.got)) {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "## %s\n\n%s", name, g.got[name])
	}
	if err := os.WriteFile(vectorGoldenFile, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
