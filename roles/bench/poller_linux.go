package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// The poller's own tags; connections have theirs from firstConn on.
const (
	tagTimer = iota
	tagBeat
	tagStop
	firstConn
)

// poller waits for connections, for a timer that paces the messages, for one that beats once a second,
// and for the end of a context.
type poller struct {
	epoll, timer, beat, stop int
	events                   []unix.EpollEvent
	release                  func() bool
}

func newPoller(ctx context.Context) (*poller, error) {
	p := &poller{epoll: -1, timer: -1, beat: -1, stop: -1, events: make([]unix.EpollEvent, 512)}
	var err error
	made := func(fd int, e error) int {
		err = errors.Join(err, e)
		return fd
	}
	p.epoll = made(unix.EpollCreate1(unix.EPOLL_CLOEXEC))
	p.timer = made(unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK))
	p.beat = made(unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK))
	p.stop = made(unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK))
	if err == nil {
		err = errors.Join(p.watch(p.timer, tagTimer), p.watch(p.beat, tagBeat), p.watch(p.stop, tagStop), p.every(p.beat, time.Second))
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("poller: %w", err)
	}
	// After close stop may be another file: so close waits for the function, if it runs.
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_, _ = unix.Write(p.stop, binary.NativeEndian.AppendUint64(nil, 1))
	})
	p.release = func() bool {
		if stop() {
			return true
		}
		<-ended
		return false
	}
	return p, nil
}

func (p *poller) close() {
	if p.release != nil {
		p.release()
	}
	for _, fd := range []int{p.epoll, p.timer, p.beat, p.stop} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

func (p *poller) watch(fd int, tag int32) error {
	return unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: tag})
}

// writable asks, or asks no more, for word that the connection takes bytes again.
func (p *poller) writable(fd int, tag int32, on bool) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: tag}
	if on {
		e.Events |= unix.EPOLLOUT
	}
	return unix.EpollCtl(p.epoll, unix.EPOLL_CTL_MOD, fd, &e)
}

func (p *poller) forget(fd int) { _ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil) }

// every makes a timer expire once a period; 0 stops it.
func (p *poller) every(timer int, period time.Duration) error {
	t := unix.NsecToTimespec(int64(period))
	return unix.TimerfdSettime(timer, 0, &unix.ItimerSpec{Interval: t, Value: t}, nil)
}

// expirations is how often a timer has expired since it was asked last.
func (p *poller) expirations(timer int) int {
	var b [8]byte
	if n, err := unix.Read(timer, b[:]); n != len(b) || err != nil {
		return 0
	}
	return int(binary.NativeEndian.Uint64(b[:]))
}

func (p *poller) wait() ([]unix.EpollEvent, error) {
	for {
		n, err := unix.EpollWait(p.epoll, p.events, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("poller: %w", err)
		}
		return p.events[:n], nil
	}
}
