package bench

import (
	"bytes"
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// look is how much of a message is needed to know it: the event's name, and the sequence number.
const look = 320

// conn is one connection in the poller.
type conn struct {
	fd  int
	tag int32

	carry []byte // the beginning of a frame of which more is needed
	skip  int    // bytes of a frame that is known, still to come
	out   []byte // what the kernel did not take

	warm    bool   // a message has come
	stalled bool   // it is read from no more
	ended   bool   // by the server
	beat    int    // a heartbeat every so many seconds; 0: none
	next    uint64 // sequence number that comes next
	passed  uint64 // sequence number up to which the window waits for nothing more
	ontime  uint64 // messages that came in their order
}

// read takes what has come, as far as one call of the kernel gives it, into buf, and hands on each
// frame: of those that are long, the beginning alone. done is true when nothing more comes.
func (c *conn) read(buf []byte, frame func(op byte, p []byte)) (n int, err error) {
	have := copy(buf, c.carry)
	n, err = unix.Read(c.fd, buf[have:])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return 0, nil
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	c.carry = c.carry[:0]
	c.split(buf[:have+n], frame)
	return n, nil
}

func (c *conn) split(data []byte, frame func(op byte, p []byte)) {
	if c.skip > 0 {
		n := min(c.skip, len(data))
		c.skip -= n
		data = data[n:]
	}
	for len(data) > 0 {
		if len(data) < 2 || len(data) < headerSize(data[1]) {
			c.carry = append(c.carry, data...)
			return
		}
		head := headerSize(data[1])
		size := payloadSize(data)
		here := min(len(data)-head, size)
		if here < size && here < look {
			c.carry = append(c.carry, data...)
			return
		}
		frame(data[0]&0xf, data[head:head+here])
		if here < size {
			c.skip = size - here
			return
		}
		data = data[head+size:]
	}
}

// send writes, or keeps what the kernel does not take.
func (c *conn) send(p *poller, data []byte) error {
	if len(c.out) > 0 {
		c.out = append(c.out, data...)
		return nil
	}
	n, err := c.write(data)
	if err != nil {
		return err
	}
	if n < len(data) {
		c.out = append(c.out, data[n:]...)
		return p.writable(c.fd, c.tag, true)
	}
	return nil
}

// flush writes what was kept.
func (c *conn) flush(p *poller) error {
	n, err := c.write(c.out)
	if err != nil {
		return err
	}
	c.out = append(c.out[:0], c.out[n:]...)
	if len(c.out) == 0 {
		return p.writable(c.fd, c.tag, false)
	}
	return nil
}

func (c *conn) write(data []byte) (int, error) {
	done := 0
	for done < len(data) {
		n, err := unix.Write(c.fd, data[done:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// marks find the sequence number in a message of this run's publisher.
type marks struct {
	boot   []byte
	prefix []byte // what stands before the number, as it was seen last
}

var seqKey = []byte(`"seq":`)

// seq returns the number of a message, 0 if it is none of ours.
func (m *marks) seq(p []byte) uint64 {
	if (len(m.prefix) == 0 || !bytes.HasPrefix(p, m.prefix)) && !m.learn(p) {
		return 0
	}
	n := uint64(0)
	for _, c := range p[len(m.prefix):] {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}

// learn finds out how the server writes the argument: it may do so in its own way.
func (m *marks) learn(p []byte) bool {
	p = p[:min(len(p), look)]
	boot := bytes.Index(p, m.boot)
	key := bytes.Index(p, seqKey)
	if boot < 0 || key < 0 {
		return false
	}
	end := key + len(seqKey)
	for end < len(p) && p[end] == ' ' {
		end++
	}
	m.prefix = bytes.Clone(p[:end])
	return true
}
