module github.com/milter-go/milter

go 1.25
