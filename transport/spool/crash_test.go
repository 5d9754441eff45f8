package spool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// The test binary is its own child: a process that can be killed, or that runs as another user.
const childRole = "TBMSOCK_SPOOL_TEST_CHILD"

// child is the other process's main. Arguments stand in the environment.
func child(role string) int {
	opts := Options{Dir: os.Getenv("DIR"), MaxBytes: 1 << 20}
	opts.SyncInterval, _ = time.ParseDuration(os.Getenv("SYNC"))
	s, _, err := Open(opts)
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	fmt.Println("open")
	switch role {
	case "append":
		childAppend(s)
	case "once":
		if _, err := s.Append(body(1)); err != nil {
			fmt.Println("error:", err)
			return 1
		}
	case "open":
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
	if err := s.Close(); err != nil {
		fmt.Println("error:", err)
		return 1
	}
	return 0
}

// childAppend appends until the process ends, and says so after each batch; meanwhile it takes all, and acknowledges
// some, but never the first: all must be there afterwards.
func childAppend(s *Spool) {
	from, _ := strconv.Atoi(os.Getenv("FROM"))
	go func() {
		for {
			p, _, err := s.Next(context.Background())
			if err != nil {
				fmt.Println("error:", err)
				return
			}
			if p%3 == 0 {
				_ = s.Ack(p)
			}
		}
	}()
	for n := from; ; n += 3 {
		if _, err := s.Append(body(n), body(n+1), body(n+2)); err != nil {
			fmt.Println("error:", err)
			return
		}
		fmt.Println(n + 2)
	}
}

// What Append has returned for is there after a kill, whenever it comes.
func TestKilled(t *testing.T) {
	for _, sync := range []string{"0s", "1m"} {
		t.Run("fsync "+sync, func(t *testing.T) {
			dir := t.TempDir()
			next := 1
			for round := range 5 {
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), childRole+"=append", "DIR="+dir, "SYNC="+sync, fmt.Sprint("FROM=", next))
				cmd.Stderr = os.Stderr
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				last, lines := 0, 0
				for s := bufio.NewScanner(out); s.Scan(); {
					if s.Text() == "open" {
						continue
					}
					if last, err = strconv.Atoi(s.Text()); err != nil {
						t.Errorf("child: %s", s.Text())
					}
					if lines++; lines == 20+round*77 {
						if err := cmd.Process.Kill(); err != nil {
							t.Fatal(err)
						}
					}
				}
				_ = cmd.Wait()
				if lines < 20 {
					t.Fatalf("round %d: the child ended after %d records", round, lines)
				}
				// All that it has said is there, and at most one batch that it had no time to say.
				s, found, err := Open(Options{Dir: dir, MaxBytes: 1 << 20})
				if err != nil {
					t.Fatal(err)
				}
				if n := int(found.Records); n < last || n > last+3 || found.Torn >= 400 {
					t.Fatalf("round %d: found %+v after %d", round, found, last)
				}
				next = int(found.Records) + 1
				take(t, s, 1, next-1)
				none(t, s)
				shut(t, s)
				t.Logf("%d said, %d there, %d bytes torn", last, found.Records, found.Torn)
			}
		})
	}
}

func TestOneProcessADirectory(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRole+"=open", "DIR="+dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if s := bufio.NewScanner(out); !s.Scan() || s.Text() != "open" {
		t.Errorf("child: %s", s.Text())
	}
	_, _, err = Open(Options{Dir: dir})
	want := fmt.Sprintf("spool in %s: another process uses this directory (process %d)", dir, cmd.Process.Pid)
	if !errors.Is(err, ErrInUse) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	openSpool(t, Options{Dir: dir})
}
