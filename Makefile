# What a stranger would guess. `make demo` shows the library, `make test` tests it.

GO        ?= go
FUZZTIME  ?= 10s
COMPARE   ?=
VULNDB    ?=
MESSAGES  ?= 1000000
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: all build demo test lint vuln fuzz bench bench-compare bench-gate check cover torture soak interop record clean

all: build

## build: the commands, into bin/
build:
	$(GO) build -o bin/ ./cmd/...

## demo: a milter at work on a real mail, without an MTA
demo:
	@$(GO) run ./examples/demo

## test: all tests, in random order, with the race detector
test:
	$(GO) test -race -shuffle=on ./...

## lint: gofmt, vet, staticcheck, and builds for other systems
lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'gofmt: the files above are not formatted'; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags interop ./interop
	$(GO) run $(STATICCHECK) -tags interop ./...
	GOOS=darwin $(GO) vet ./...
	GOOS=freebsd $(GO) vet ./...
	GOOS=windows $(GO) vet ./...
	GOARCH=386 $(GO) vet ./...
	cd bench && $(GO) vet ./...

## vuln: known vulnerabilities in what we use; asks the Go vulnerability database, or a copy at VULNDB (file:///...)
vuln:
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.1.4 $(if $(VULNDB),-db $(VULNDB)) ./...

## fuzz: each fuzz target for FUZZTIME, a time (10s) or a count (30000x)
fuzz:
	@for dir in $$($(GO) list -f '{{.Dir}}' ./...); do \
	  for target in $$(cd $$dir && $(GO) test -list '^Fuzz' . | grep '^Fuzz'); do \
	    echo "$$dir $$target"; \
	    (cd $$dir && $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x .) || exit 1; \
	  done; \
	done

## bench: benchmarks with allocations
bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

## bench-compare: this library, others and a bare loop in one run, about a quarter of an hour; COMPARE=-quick for a trial
bench-compare:
	cd bench && $(GO) run ./compare $(COMPARE)
	cd bench && $(GO) run ./report

## bench-gate: what has bounds: allocations, system calls, one pinned session; and the tests of bench
bench-gate:
	$(GO) test -run 'Alloc|Memory' ./...
	cd bench && $(GO) vet ./...
	cd bench && $(GO) test ./...
	cd bench && $(GO) run ./gate

## cover: statements covered, by package
cover:
	$(GO) test -cover ./...

## check: what to run before a commit
check: lint test

## torture: attacks on milter processes, from outside (Linux)
torture:
	$(GO) run ./torture

## soak: MESSAGES messages through a milter process, to see that nothing grows (Linux)
soak:
	$(GO) run ./torture --soak --messages $(MESSAGES)

## interop: real MTAs and milters as judges; needs root, installs packages
interop:
	interop/run

## record: sessions of the real MTAs anew, for the replay in `make test`
record:
	interop/run -run TestRecord -update

clean:
	rm -rf bin
