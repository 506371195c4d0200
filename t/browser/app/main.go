// The profiles that the viewer's tests read: a server that leaks orders, in
// miniature.  Usage: main <directory>; writes cpu.pb.gz, cpu2.pb.gz,
// heap0.pb.gz to heap2.pb.gz, goroutine.pb.gz, mutex.pb.gz.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sort"
	"strings"
	"sync"
	"time"
)

type order struct{ lines [][]byte }

type sessionCache struct{ m map[int]*order }

var cache = sessionCache{m: map[int]*order{}}
var config [][]byte
var sink int

//go:noinline
func (c *sessionCache) put(id int, o *order) { c.m[id] = o }

//go:noinline
func decodeOrder(n int) *order {
	o := &order{}
	for i := 0; i < n; i++ {
		o.lines = append(o.lines, make([]byte, 4096))
	}
	return o
}

//go:noinline
func handleOrder(id int) { cache.put(id, decodeOrder(48)) }

//go:noinline
func worker(from, to int) {
	for i := from; i < to; i++ {
		handleOrder(i)
	}
}

//go:noinline
func loadConfig() {
	for i := 0; i < 400; i++ {
		config = append(config, make([]byte, 16384))
	}
}

//go:noinline
func fibonacci(n int) int {
	if n < 2 {
		return n
	}
	return fibonacci(n-1) + fibonacci(n-2)
}

//go:noinline
func sortNames(round int) {
	names := make([]string, 0, 5000)
	for i := 0; i < 5000; i++ {
		names = append(names, fmt.Sprintf("%x", i*2654435761%65536))
	}
	sort.Strings(names)
	sink += len(strings.Join(names, ","))
}

//go:noinline
func burn(d time.Duration, sorts int) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		sink += fibonacci(28)
		for i := 0; i < sorts; i++ {
			sortNames(i)
		}
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	dir := os.Args[1]
	create := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name+".pb.gz"))
		must(err)
		return f
	}
	lookup := func(kind, name string) {
		f := create(name)
		must(pprof.Lookup(kind).WriteTo(f, 0))
		must(f.Close())
	}

	for i, sorts := range []int{1, 3} {
		f := create([]string{"cpu", "cpu2"}[i])
		must(pprof.StartCPUProfile(f))
		burn(time.Second, sorts)
		pprof.StopCPUProfile()
		must(f.Close())
	}

	runtime.SetMutexProfileFraction(1)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := 0; i < 4; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := 0; j < 50; j++ {
				mu.Lock()
				sink += fibonacci(12)
				time.Sleep(100 * time.Microsecond)
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	lookup("mutex", "mutex")

	loadConfig()
	for i := 0; i < 3; i++ {
		worker(i*200, (i+1)*200)
		if i == 2 {
			config = nil
		}
		runtime.GC()
		runtime.GC()
		lookup("heap", fmt.Sprint("heap", i))
	}

	block := make(chan int)
	for i := 0; i < 5; i++ {
		go func() { <-block }()
	}
	time.Sleep(20 * time.Millisecond)
	lookup("goroutine", "goroutine")
}
