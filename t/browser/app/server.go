//go:build ignore

// A Go program behind nginx, with net/http/pprof on its port.
package main

import (
	"net/http"
	_ "net/http/pprof"
	"os"
	"time"
)

var sink int

//go:noinline
func countPrimes(n int) (found int) {
	for i := 2; i < n; i++ {
		prime := true
		for j := 2; j*j <= i; j++ {
			if i%j == 0 {
				prime = false
				break
			}
		}
		if prime {
			found++
		}
	}
	return
}

func main() {
	go func() {
		for {
			sink += countPrimes(20000)
			time.Sleep(2 * time.Millisecond)
		}
	}()
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("go\n"))
	})
	if err := http.ListenAndServe(os.Args[1], nil); err != nil {
		println(err.Error())
		os.Exit(1)
	}
}
