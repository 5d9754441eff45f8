package transport

import (
	"context"
	"time"
)

// EventInject asks a source that rehearses to do something to itself: {source, …}. The relay looks at
// source alone, passes the argument on to whoever has joined [InjectRoom] of it, and answers with the
// source's own answer.
const EventInject = "inject"

// CodeNoSource is the answer when nobody has joined the source's room, or it does not answer.
const CodeNoSource = "no_source"

// injectTimeout bounds the wait for the source's answer.
const injectTimeout = 5 * time.Second

// InjectRoom is the room in which a source waits for [EventInject].
func InjectRoom(source string) string { return "inject:" + source }

func (r *Relay) inject(ctx context.Context, ev *Event) {
	var arg struct{ Source string }
	if len(ev.Args) != 1 || ev.Args[0].Decode(&arg) != nil || arg.Source == "" {
		answer(ev, refused(CodeBadArguments, `inject takes {"source":"tbm-1", …}`))
		return
	}
	room := InjectRoom(arg.Source)
	if err := CheckRoom(room); err != nil {
		answer(ev, refused(CodeBadArguments, "source %q: %v", arg.Source, err))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, injectTimeout)
	defer cancel()
	answers, err := r.ns.To(room).EmitAck(ctx, EventInject, ev.Args[0])
	if len(answers) == 0 && err != nil {
		answer(ev, refused(CodeNoSource, "no source %q that takes faults is connected here: %v", arg.Source, err))
		return
	}
	if len(answers) == 0 {
		answer(ev, refused(CodeNoSource, "no source %q is connected that takes faults", arg.Source))
		return
	}
	for _, a := range answers {
		if a.Err != nil {
			answer(ev, refused(CodeNoSource, "source %q does not answer: %v", arg.Source, a.Err))
			return
		}
		if refusal := ackError(a.Args); refusal != nil {
			answer(ev, Ack{Error: refusal})
			return
		}
	}
	answer(ev, Ack{OK: true})
}
