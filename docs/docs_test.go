// Package docs_test keeps the documents true to the code.
package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFromMilterManager holds the table of names to both sides: every name of
// milter manager's reference is in it, and every Go name in it exists.
func TestFromMilterManager(t *testing.T) {
	text, err := os.ReadFile("from-milter-manager.md")
	if err != nil {
		t.Fatal(err)
	}
	known := exportedNames(t, "option", "protocol", "reply", "context", "client")
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (?:`([^`]+)`|-) \\|")
	listed := make(map[string]bool)
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		c, goName := m[1], m[2]
		if listed[c] {
			t.Errorf("%s is listed twice", c)
		}
		listed[c] = true
		if goName != "" && !known[goName] {
			t.Errorf("%s: there is no %s", c, goName)
		}
	}
	names, err := os.ReadFile("testdata/milter-manager-names.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for name := range strings.Lines(string(names)) {
		n++
		if !listed[strings.TrimSpace(name)] {
			t.Errorf("from-milter-manager.md has no row for %s", name)
		}
	}
	t.Logf("%d names of milter manager's reference, %d rows", n, len(listed))
}

// TestDifferences holds the tests that differences.md names to be there.
func TestDifferences(t *testing.T) {
	text, err := os.ReadFile("differences.md")
	if err != nil {
		t.Fatal(err)
	}
	vectors, err := os.ReadFile("../context/testdata/vectors/libmilter.json")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile("`(Test\\w+)`")
	vector := regexp.MustCompile("`([a-z0-9]+(?:-[a-z0-9*]+)+)`")
	tests, n := testNames(t), 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 {
			continue
		}
		for _, m := range name.FindAllStringSubmatch(cells[4], -1) {
			n++
			if !tests[m[1]] {
				t.Errorf("there is no %s: %s", m[1], line)
			}
		}
		for _, m := range vector.FindAllStringSubmatch(cells[4], -1) {
			n++
			if !strings.Contains(string(vectors), `"name": "`+strings.TrimSuffix(m[1], "*")) {
				t.Errorf("there is no vector %s: %s", m[1], line)
			}
		}
	}
	if n < 40 {
		t.Errorf("differences.md names %d tests and vectors; was its table read?", n)
	}
}

// testNames returns the names of all tests of the module.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil {
				names[f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestReadmeShowsHello holds the milter in the README to the one that is tested.
func TestReadmeShowsHello(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	hello, err := os.ReadFile("../examples/hello/main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, program, ok := strings.Cut(string(hello), "\npackage main\n")
	if !ok || !strings.Contains(string(readme), "```go\npackage main\n"+program+"```\n") {
		t.Error("README.md does not show examples/hello/main.go as it is")
	}
}

// TestLinks follows the relative links in all Markdown files.
func TestLinks(t *testing.T) {
	code := regexp.MustCompile("(?s)```.*?```")
	link := regexp.MustCompile(`\]\(([^)#:\s]+)(?:#[^)]*)?\)`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		prose := code.ReplaceAllString(string(text), "")
		for _, m := range link.FindAllStringSubmatch(prose, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s: broken link: %v", path, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// exportedNames returns "pkg.Name", "pkg.Type.Method" and "pkg.Type.Field" for
// everything the packages export. Fields and methods of an embedded struct of these
// packages count as the outer one's.
func exportedNames(t *testing.T, packages ...string) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	embedded := make(map[string]string)
	for _, pkg := range packages {
		files, err := filepath.Glob(filepath.Join("..", pkg, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no files in package %s: %v", pkg, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range file.Decls {
				collect(names, embedded, pkg, decl)
			}
		}
	}
	for outer, inner := range embedded {
		for name := range names {
			if field, ok := strings.CutPrefix(name, inner+"."); ok {
				names[outer+"."+field] = true
			}
		}
	}
	return names
}

func collect(names map[string]bool, embedded map[string]string, pkg string, decl ast.Decl) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		name := pkg + "."
		if d.Recv != nil {
			name += receiver(d.Recv.List[0].Type) + "."
		}
		names[name+d.Name.Name] = d.Name.IsExported()
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.ValueSpec:
				for _, n := range s.Names {
					names[pkg+"."+n.Name] = n.IsExported()
				}
			case *ast.TypeSpec:
				names[pkg+"."+s.Name.Name] = s.Name.IsExported()
				fields, ok := s.Type.(*ast.StructType)
				if !ok {
					continue
				}
				for _, f := range fields.Fields.List {
					if len(f.Names) == 0 {
						switch inner := f.Type.(type) {
						case *ast.SelectorExpr:
							embedded[pkg+"."+s.Name.Name] = inner.X.(*ast.Ident).Name + "." + inner.Sel.Name
						case *ast.Ident:
							embedded[pkg+"."+s.Name.Name] = pkg + "." + inner.Name
						}
					}
					for _, n := range f.Names {
						names[pkg+"."+s.Name.Name+"."+n.Name] = n.IsExported()
					}
				}
			}
		}
	}
}

func receiver(e ast.Expr) string {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	if id, ok := e.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}
