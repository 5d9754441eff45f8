package bench

import (
	"fmt"
	"io"
	"time"
)

// Result is what a run has measured. Durations in JSON are microseconds, sizes bytes.
type Result struct {
	URL      string   `json:"url"`
	Revision Revision `json:"engine"`
	Clients  int      `json:"clients"`
	Stalled  int      `json:"stalled"`
	Size     int      `json:"size"`
	Rate     float64  `json:"rate"` // messages a second asked for; 0: as fast as they are delivered, or none
	Idle     bool     `json:"idle"`
	Ack      bool     `json:"ack"`

	Seconds    float64 `json:"seconds"`    // for which messages were published
	Published  uint64  `json:"published"`  // messages
	Wanted     uint64  `json:"wanted"`     // deliveries that should have come: to those that read
	Delivered  uint64  `json:"delivered"`  // of these, in the end
	InTime     uint64  `json:"in_time"`    // of these, while messages were published
	PerSecond  float64 `json:"per_second"` // deliveries in time, a second
	Lost       uint64  `json:"lost"`       // to clients that the server has not ended
	Late       uint64  `json:"late"`       // came again, or after a later one
	Dropped    uint64  `json:"dropped"`    // events "dropped" that clients were sent
	Ended      int     `json:"ended"`      // clients whose connection the server ended
	Latency    Latency `json:"latency"`
	AckLatency Latency `json:"ack_latency"`
	Acks       uint64  `json:"acks"`
	Negative   uint64  `json:"negative_acks"`

	Server *Server `json:"server,omitempty"`

	LoadCPU float64 `json:"load_cpu"` // CPU seconds a second that the load took
	LateBy  Latency `json:"late_by"`  // how long after its time a message was published; zero without a rate
	Limited bool    `json:"limited"`  // the load was the bottleneck
}

// Latency is from the publisher's write to the subscriber's read, or to the acknowledgement's.
type Latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}

// Server is what the server's process has used.
type Server struct {
	CPU           float64 `json:"cpu"`             // seconds, while messages were published
	CPUPerMillion float64 `json:"cpu_per_million"` // seconds a million deliveries
	Before        int64   `json:"rss_before"`      // before the first client
	Connected     int64   `json:"rss_connected"`   // with all clients, before the first message
	End           int64   `json:"rss_end"`
	Max           int64   `json:"rss_max"`
	PerClient     int64   `json:"rss_per_client"` // at the end if idle, else when connected
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func (h *histogram) latency() Latency {
	return Latency{microseconds(h.quantile(0.5)), microseconds(h.quantile(0.99)), microseconds(h.quantile(0.999)), microseconds(h.max)}
}

func (l Latency) String() string {
	d := func(us float64) time.Duration {
		return (time.Duration(us*1000) * time.Nanosecond).Round(time.Microsecond)
	}
	return fmt.Sprintf("p50 %v, p99 %v, p99.9 %v, max %v", d(l.P50), d(l.P99), d(l.P999), d(l.Max))
}

// Print writes the result for people.
func (r *Result) Print(w io.Writer) error {
	how := fmt.Sprintf("%g messages/s", r.Rate)
	switch {
	case r.Idle:
		how = "idle"
	case r.Rate == 0:
		how = "as fast as they are delivered"
	}
	text := fmt.Sprintf("load        %s, engine %v, %d clients, %d of them stalled, %d bytes, %s, %.1f s\n",
		r.URL, r.Revision, r.Clients, r.Stalled, r.Size, how, r.Seconds)
	if !r.Idle {
		text += fmt.Sprintf("deliveries  %d of %d, %.0f/s; lost %d, late or repeated %d, told of drops %d, clients ended %d\n",
			r.Delivered, r.Wanted, r.PerSecond, r.Lost, r.Late, r.Dropped, r.Ended)
		text += fmt.Sprintf("latency     %v\n", r.Latency)
		if r.Ack {
			text += fmt.Sprintf("acks        %d of %d, %d negative; %v\n", r.Acks, r.Published, r.Negative, r.AckLatency)
		}
	} else if r.Ended > 0 {
		text += fmt.Sprintf("clients     %d ended by the server\n", r.Ended)
	}
	if s := r.Server; s != nil {
		text += fmt.Sprintf("server      %.2f CPU s", s.CPU)
		if r.InTime > 0 {
			text += fmt.Sprintf(", %.2f a million deliveries", s.CPUPerMillion)
		}
		text += fmt.Sprintf("; %.1f MB at most, %.1f KB a client\n", float64(s.Max)/1e6, float64(s.PerClient)/1e3)
	}
	text += fmt.Sprintf("load        %.0f %% of a core", 100*r.LoadCPU)
	if r.Rate > 0 {
		text += fmt.Sprintf("; published late by %v", r.LateBy)
	}
	text += "\n"
	if r.Limited {
		text += "            the load was the bottleneck: the server can do more than this\n"
	}
	_, err := io.WriteString(w, text)
	return err
}
