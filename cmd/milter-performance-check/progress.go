package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/milter-go/milter/cmd/internal/console"
)

// A progress rewrites one line with the messages so far. A nil one does nothing.
type progress struct {
	w       io.Writer
	stop    chan struct{}
	stopped sync.WaitGroup
}

// newProgress returns the display on w, or nil if w is no terminal.
func newProgress(w io.Writer) *progress {
	if !console.IsTerminal(w) {
		return nil
	}
	return &progress{w: w}
}

func (p *progress) begin(workers []*worker) {
	if p == nil {
		return
	}
	p.stop = make(chan struct{})
	p.stopped.Go(func() {
		const interval = 250 * time.Millisecond
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		last, lastTime := uint64(0), time.Now()
		for {
			select {
			case <-p.stop:
				fmt.Fprint(p.w, "\r\x1b[K")
				return
			case now := <-ticker.C:
				n := uint64(0)
				for _, w := range workers {
					n += w.tally.progress.Load()
				}
				rate := float64(n-last) / now.Sub(lastTime).Seconds()
				fmt.Fprintf(p.w, "\r%d messages, %.0f/s\x1b[K", n, rate)
				last, lastTime = n, now
			}
		}
	})
}

func (p *progress) end() {
	if p == nil {
		return
	}
	close(p.stop)
	p.stopped.Wait()
}
