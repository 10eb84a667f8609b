module github.com/milter-go/milter/bench

go 1.25.0

require (
	github.com/emersion/go-milter v0.5.0
	github.com/google/go-cmp v0.7.0
	github.com/milter-go/milter v0.0.0
	golang.org/x/sys v0.47.0
)

require github.com/emersion/go-message v0.18.2 // indirect

replace github.com/milter-go/milter => ../
