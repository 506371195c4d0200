//go:build ignore

// A Go program behind nginx, with net/http/pprof on its port, and with what
// debugcharts answers, brackets of its callback included.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"sync"
	"time"
)

type value struct {
	Ts    int64
	Value uint64
}

type cpu struct {
	Ts        int64
	User, Sys float64
}

type counts struct {
	Ts                                          int64
	Block, Goroutine, Heap, Mutex, Threadcreate int
}

var charts struct {
	sync.Mutex
	BytesAllocated []value
	GcPauses       []value
	CPUUsage       []cpu
	Pprof          []counts
}

func measure() {
	var gcs uint32
	for now := range time.Tick(time.Second) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		ts := now.Unix() * 1000

		charts.Lock()
		charts.BytesAllocated = append(charts.BytesAllocated,
			value{ts, m.Alloc})
		if m.NumGC != gcs {
			gcs = m.NumGC
			charts.GcPauses = append(charts.GcPauses,
				value{ts, m.PauseNs[(gcs+255)%256]})
		}
		charts.CPUUsage = append(charts.CPUUsage, cpu{ts, 0.25, 0.05})
		charts.Pprof = append(charts.Pprof,
			counts{ts, 0, runtime.NumGoroutine(), 3, 0, 7})
		charts.Unlock()
	}
}

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
	go measure()
	http.HandleFunc("/debug/charts/data", func(w http.ResponseWriter,
		r *http.Request) {
		charts.Lock()
		defer charts.Unlock()
		fmt.Fprintf(w, "%v(", r.FormValue("callback"))
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(&charts)
		w.Write([]byte(")"))
	})
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("go\n"))
	})
	if err := http.ListenAndServe(os.Args[1], nil); err != nil {
		println(err.Error())
		os.Exit(1)
	}
}
