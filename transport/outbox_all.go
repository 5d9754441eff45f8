package transport

// pushAll appends frames that count size bytes together, in one go. It is false if they do not fit as they are: nothing has
// been done then, and they are to be pushed one by one, where each has what becomes of it.
func (o *Outbox) pushAll(frames []*Frame, size int) bool {
	o.mu.Lock()
	if o.closed || o.bytes+size > o.limit && (len(o.frames) > o.head || len(frames) > 1) {
		o.mu.Unlock()
		return false
	}
	for len(o.frames)+len(frames) > cap(o.frames) {
		o.grow() // append would leave the array that is borrowed, with what is in it
	}
	o.frames = append(o.frames, frames...)
	o.bytes += size
	wake := o.wake
	if o.awake || wake == nil {
		wake = nil
	} else {
		o.awake = true
	}
	o.mu.Unlock()
	if wake != nil {
		wake()
	}
	return true
}

// takes tells whether so many bytes more would be taken without await waiting.
func (o *Outbox) takes(size int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes == 0 || o.bytes+size <= o.limit/2
}
