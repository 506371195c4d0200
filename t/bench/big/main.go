/*
 * The big program of main.cc, in Go: the same numbers of threads, blocks and
 * paths, and net/http/pprof.  What walk() chooses from is in desks.go, which
 * kinds.pl writes.
 *
 *   big threads blocks address
 */

package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	depth   = 10
	block   = 16384
	paths   = 2000
	workers = 4
)

var (
	steps   []func(depth int, seed uint32, last func() int) int
	parking sync.Mutex
	parked  = sync.NewCond(&parking)
	lock    sync.Mutex
	waiting int32
	heap    [][]byte
	sink    int
)

func walk(depth int, seed uint32, last func() int) int {
	if depth == 0 {
		return last()
	}

	return steps[(seed>>8)%uint32(len(steps))](depth-1, seed, last)
}

//go:noinline
func compute(n int) int {
	sum := 0

	for i := 0; i < n; i++ {
		sum += i * i
		sink = sum
	}

	return sum
}

/* CPU seconds of the thread that this goroutine is bound to. */
func threadCPU() float64 {
	var ts syscall.Timespec

	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, 3,
		uintptr(unsafe.Pointer(&ts)), 0)

	return float64(ts.Sec) + float64(ts.Nsec)/1e9
}

func work(rounds int) float64 {
	used := make([]float64, workers)

	var all sync.WaitGroup

	for w := 0; w < workers; w++ {
		all.Add(1)

		go func(w int) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()

			begun := threadCPU()

			for i := w; i < rounds; i += workers {
				walk(depth, uint32(i%paths)*2654435761,
					func() int { return compute(20000) })
			}

			used[w] = threadCPU() - begun
			all.Done()
		}(w)
	}

	all.Wait()

	sum := 0.0

	for _, u := range used {
		sum += u
	}

	return sum
}

func contend() {
	var all sync.WaitGroup

	for t := 0; t < 2; t++ {
		all.Add(1)

		go func(t int) {
			for i := 0; i < paths/4; i++ {
				walk(depth, uint32(2*i+t)*2654435761, func() int {
					lock.Lock()
					defer lock.Unlock()

					/* as in C++ */
					time.Sleep(100 * time.Microsecond)

					return 0
				})
			}

			all.Done()
		}(t)
	}

	all.Wait()
}

func main() {
	var threads, blocks int

	if len(os.Args) != 4 {
		os.Exit(2)
	}

	fmt.Sscan(os.Args[1], &threads)
	fmt.Sscan(os.Args[2], &blocks)
	runtime.SetMutexProfileFraction(1)
	runtime.SetBlockProfileRate(1)

	for i := 0; i < blocks; i++ {
		walk(depth, uint32(i%paths)*2654435761, func() int {
			heap = append(heap, make([]byte, block))
			return 0
		})
	}

	for i := 0; i < threads; i++ {
		seed := uint32(i)

		walk(depth, seed*2654435761, func() int {
			go walk(depth, seed*40503, func() int {
				/* a thread of its own, as in C++ */
				runtime.LockOSThread()
				parking.Lock()
				atomic.AddInt32(&waiting, 1)

				for {
					parked.Wait()
				}
			})

			return 0
		})
	}

	for atomic.LoadInt32(&waiting) < int32(threads) {
		runtime.Gosched()
	}

	contend()
	runtime.GC()

	listener, err := net.Listen("unix", os.Args[3])

	if err != nil {
		panic(err)
	}

	go http.Serve(listener, nil)

	fmt.Println("ready")

	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var rounds int

		fmt.Sscanf(in.Text(), "work %d", &rounds)
		fmt.Printf("done %.9f\n", work(rounds))
	}
}
