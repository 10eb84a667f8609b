module github.com/milter-go/milter/bench

go 1.25.0

require (
	github.com/emersion/go-milter v0.5.0
	github.com/milter-go/milter v0.0.0
)

require (
	github.com/emersion/go-message v0.18.2 // indirect
	golang.org/x/sys v0.47.0 // indirect
)

replace github.com/milter-go/milter => ../
