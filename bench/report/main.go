// Report turns the figures of a comparison into docs/performance.md, the part of it
// between the marks, and into the pictures in docs/performance.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/milter-go/milter/bench/page"
	"github.com/milter-go/milter/bench/result"
)

func main() {
	in := flag.String("i", "results/latest.json", "`file` that program compare has written")
	doc := flag.String("doc", "../docs/performance.md", "`document` with the marks")
	flag.Parse()
	if err := report(*in, *doc); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// report rewrites the document, and the pictures in the folder of the same name
// beside it.
func report(in, doc string) error {
	r, err := result.Load(in)
	if err != nil {
		return err
	}
	before, err := os.ReadFile(doc)
	if err != nil {
		return err
	}
	folder := doc[:len(doc)-len(filepath.Ext(doc))]
	after, err := page.Insert(string(before), page.Document(r, filepath.Base(folder)))
	if err != nil {
		return fmt.Errorf("%s: %w", doc, err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, c := range page.Charts(r) {
		if err := os.WriteFile(filepath.Join(folder, c.File), []byte(c.SVG), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(doc, []byte(after), 0o644)
}
