package client_test

import (
	stdcontext "context"
	"expvar"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// A milter that refuses one recipient. It runs until a signal comes; mails that
// are under way then have 30 seconds to be finished.
func Example() {
	c := client.New()
	c.OnConnectionEstablished(func(ctx *context.ClientContext) {
		ctx.OnEnvelopeRecipient(func(ctx *context.ClientContext, to string, _ protocol.Parameters) protocol.Status {
			if to != "<nobody@example.com>" {
				return protocol.StatusContinue
			}
			return ctx.Reject(550, "5.1.1", "Nobody is not here")
		})
	})
	go func() {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
		<-signals
		ctx, cancel := stdcontext.WithTimeout(stdcontext.Background(), 30*time.Second)
		defer cancel()
		if err := c.Shutdown(ctx); err != nil {
			log.Print("some mails were cut off: ", err)
		}
	}()
	if err := c.ListenAndServe("inet:10025@127.0.0.1"); err != nil {
		log.Fatal(err)
	}
}

// Several sockets are bound before the program gives up its privileges, say.
func ExampleClient_Listen() {
	dir, err := os.MkdirTemp("", "milter")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	c := client.New()
	c.MaxConnections = 100
	c.UnixSocketMode = 0o666
	for _, spec := range []string{"inet:0@127.0.0.1", "unix:" + dir + "/milter.sock"} {
		if err := c.AddConnectionSpec(spec); err != nil {
			log.Fatal(err)
		}
	}
	c.OnListenStarted(func(addr net.Addr) { fmt.Println("listening on", addr.Network()) })
	if err := c.Listen(); err != nil {
		log.Fatal(err)
	}
	// Here comes what has to be done between Listen and Run.
	go c.Close()
	if err := c.Run(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// listening on tcp
	// listening on unix
}

// The statistics as JSON, which package expvar serves at /debug/vars.
func ExampleClient_Statistics() {
	c := client.New()
	statistics := expvar.Func(func() any { return c.Statistics() })
	// A program publishes them, once: expvar.Publish("milter", statistics)
	fmt.Println(statistics)
	// Output:
	// {"Sessions":0,"Processing":0,"Refused":0,"Panics":0,"BadPeers":0,"ProtocolErrors":0,"Timeouts":0,"ReplyTimeouts":0}
}

func ExampleParseSpec() {
	spec, err := client.ParseSpec("inet6:10025@[::1]")
	fmt.Println(spec.Network, spec.Address, err)
	fmt.Println(spec)
	_, err = client.ParseSpec("inet:localhost:10025")
	fmt.Println(err)
	// Output:
	// tcp6 [::1]:10025 <nil>
	// inet6:10025@[::1]
	// client: port number has invalid character: "inet:localhost:10025": "l"; write "inet:10025@localhost"
}

func ExampleParseMode() {
	mode, err := client.ParseMode("660")
	fmt.Println(mode, err)
	_, err = client.ParseMode("rw")
	fmt.Println(err)
	// Output:
	// -rw-rw---- <nil>
	// client: mode must be 0-7: "rw": "r"
}

func ExampleSpecOf() {
	fmt.Println(client.SpecOf(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25}))
	fmt.Println(client.SpecOf(&net.UnixAddr{Net: "unix", Name: "/run/milter.sock"}))
	// Output:
	// inet:25@[192.0.2.1]
	// unix:/run/milter.sock
}
