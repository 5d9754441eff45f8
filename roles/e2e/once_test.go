package e2e

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tbmsock/internal/freeport"
)

// The sources of a run of TestExactlyOnce. The last one sends one packet when all that the others have sent is acknowledged:
// whoever has it has everything that stands before it in the journal, or will never have it.
const (
	sourceForAll = "tbm-all"
	sourceForOps = "tbm-ops"
	sourceAtEnd  = "tbm-end"
)

// onceWait bounds each wait of a run, in which every process shares its CPU with many others.
const onceWait = 4 * time.Minute

// onceForm is how much TestExactlyOnce does.
type onceForm struct {
	delays []time.Duration
	runs   int           // at each delay
	last   time.Duration // for so long packets are taken
	seed   uint64
}

// readOnceForm reads it from the environment.
func readOnceForm(t *testing.T) onceForm {
	t.Helper()
	f := onceForm{delays: []time.Duration{0, 50 * time.Millisecond, 800 * time.Millisecond}, runs: 1, last: 6 * time.Second, seed: rand.Uint64N(1e9)}
	number := func(name string) (n uint64, given bool) {
		text, given := os.LookupEnv(name)
		if !given {
			return 0, false
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || n == 0 {
			t.Fatalf("%s=%q: not a number from 1", name, text)
		}
		return n, true
	}
	if n, given := number("TBMSOCK_ONCE_RUNS"); given {
		f.delays = []time.Duration{0, 5 * time.Millisecond, 50 * time.Millisecond, 150 * time.Millisecond, 800 * time.Millisecond}
		f.runs, f.last = int(n), 10*time.Second
	}
	if n, given := number("TBMSOCK_ONCE_SEED"); given {
		f.seed = n
	}
	if text := os.Getenv("TBMSOCK_ONCE_DELAYS"); text != "" {
		f.delays = nil
		for _, one := range strings.Split(text, ",") {
			d, err := time.ParseDuration(strings.TrimSpace(one))
			if err != nil || d < 0 {
				t.Fatalf("TBMSOCK_ONCE_DELAYS=%q: not durations such as 0,5ms", text)
			}
			f.delays = append(f.delays, d)
		}
	}
	return f
}

// Every follower gets every packet that is for it exactly once and in order: our logger and stock clients, with and without
// a room, over a link that is slow and fails, from a server that is killed, on a machine whose CPUs are saturated. What
// must come is counted by the publishers themselves, not by the journal. The long form (make test-once) runs each of five
// delays twenty times.
func TestExactlyOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	form := readOnceForm(t)
	total, all := 0, onceFaults{}
	for _, delay := range form.delays {
		for run := range form.runs {
			t.Run(fmt.Sprintf("%s/%d", delay, run+1), func(t *testing.T) {
				r := startOnceRun(t, form, delay, form.seed+uint64(run))
				r.goThrough()
				faults := r.judge()
				all.add(faults)
				total++
				t.Logf("delay=%s run=%d/%d seed=%d packets=%d %s busy=%.0f%%: %s", delay, run+1, form.runs, r.seed, r.packets, faults, 100*r.busy, strings.Join(r.lines, "; "))
			})
		}
	}
	t.Logf("runs=%d of %d %s", total, len(form.delays)*form.runs, all)
}

// onceRun is one run at one delay.
type onceRun struct {
	t         *testing.T
	form      onceForm
	seed      uint64
	rng       *rand.Rand
	addr      string
	dir       string
	burners   *burners
	server    *process
	read      *slowLink // to the followers
	write     *slowLink // from the publishers
	followers []*onceFollower
	sent      map[string]uint64 // by the publishers, by source
	packets   uint64
	events    []string // what was done to it
	lines     []string // the verdict on each follower
	busy      float64
}

func startOnceRun(t *testing.T, form onceForm, delay time.Duration, seed uint64) *onceRun {
	t.Helper()
	r := &onceRun{t: t, form: form, seed: seed, rng: rand.New(rand.NewPCG(seed, uint64(delay))), addr: freeport.Address(t), dir: t.TempDir(), sent: map[string]uint64{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("repeat it with TBMSOCK_ONCE_DELAYS=%s TBMSOCK_ONCE_SEED=%d; in turn:\n  %s", delay, seed, strings.Join(r.events, "\n  "))
		}
	})
	tbmsock(t) // is built while there is a CPU for it
	r.read, r.write = newSlowLink(t, r.addr, delay), newSlowLink(t, r.addr, delay)
	r.burners = startBurners(t)
	r.server = r.serve()
	for _, f := range r.cast() {
		f.start(t)
		r.followers = append(r.followers, f)
	}
	for _, f := range r.followers {
		f.await(f.ready, "follows")
	}
	return r
}

// cast are the followers of a run.
func (r *onceRun) cast() []*onceFollower {
	url, engine := r.read.url(), []string{"3", "4"}[r.rng.IntN(2)]
	logger := func(name, room string, flags ...string) *onceFollower {
		return loggerFollower(name, url, room, filepath.Join(r.dir, name+".jsonl"), flags...)
	}
	// Polling, and then an upgrade, is the default of every stock client.
	return []*onceFollower{
		logger("logger-ops", "ops"),
		logger("logger", ""),
		logger("logger-3-ops", "ops", "--engine", "3"),
		logger("logger-polling", "", "--engine", engine, "--transport", "polling"),
		stockFollower("js4-ops", "node", stockOptions{Version: "4", URL: url, Room: "ops"}),
		stockFollower("js4", "node", stockOptions{Version: "4", URL: url, Transports: []string{"websocket"}, Auth: true}),
		stockFollower("js2-ops", "node", stockOptions{Version: "2", URL: url, Room: "ops", Transports: []string{"websocket"}}),
		stockFollower("js2", "node", stockOptions{Version: "2", URL: url}),
		stockFollower("python-ops", "python", stockOptions{URL: url, Room: "ops"}),
		stockFollower("python", "python", stockOptions{URL: url, Transports: []string{"websocket"}, Auth: true}),
	}
}

func (r *onceRun) serve() *process {
	p := start(r.t, tbmsock(r.t), "server", "--listen", r.addr, "--data-dir", filepath.Join(r.dir, "data"), "--web", "off")
	p.url()
	return p
}

// goThrough publishes, lets links and server fail meanwhile, and waits until everything has come.
func (r *onceRun) goThrough() {
	r.t.Helper()
	rates := map[string]int{sourceForAll: 50, sourceForOps: 100}
	publisher := func(url, source string, count int, flags ...string) *process {
		return start(r.t, tbmsock(r.t), append([]string{"telemetry", "--url", url, "--source", source, "--rate", fmt.Sprint(rates[source], "hz"),
			"--count", fmt.Sprint(count), "--drain", onceWait.String()}, flags...)...)
	}
	count := func(source string) int { return rates[source] * int(r.form.last/time.Second) }
	publishers := map[string]*process{
		sourceForAll: publisher(r.write.url(), sourceForAll, count(sourceForAll), "--encoding", "json"),
		sourceForOps: publisher(r.write.url(), sourceForOps, count(sourceForOps), "--encoding", "protobuf", "--room", "ops"),
	}
	r.followers[0].await(r.followers[0].first, "has its first packet")
	r.failures()
	for source, p := range publishers {
		if r.sent[source] = r.ended(p); r.sent[source] != uint64(count(source)) {
			r.t.Errorf("%s has published %d packets of %d", source, r.sent[source], count(source))
		}
		r.packets += r.sent[source]
	}
	rates[sourceAtEnd] = 1
	r.ended(publisher("http://"+r.addr, sourceAtEnd, 1))
	for _, f := range r.followers {
		f.await(f.last, "has the last packet")
	}
	r.busy = r.burners.stop()
}

// failures happen at random moments while the publishers publish: at least three of each link, and the server is killed.
func (r *onceRun) failures() {
	type failure struct {
		at time.Duration
		do func() string
	}
	var plan []failure
	add := func(do func() string) {
		plan = append(plan, failure{time.Duration(r.rng.Int64N(int64(r.form.last * 8 / 10))), do})
	}
	for range 3 + r.rng.IntN(2) {
		add(func() string { return "read link: " + r.read.fail(r.rng) })
		add(func() string { return "write link: " + r.write.fail(r.rng) })
	}
	add(func() string {
		r.server.kill()
		timer := time.NewTimer(time.Duration(r.rng.IntN(1000)) * time.Millisecond) // for so long there is no server
		<-timer.C
		r.server = r.serve()
		return "server: killed and restarted"
	})
	slices.SortFunc(plan, func(a, b failure) int { return cmp.Compare(a.at, b.at) })
	for begun, i := time.Now(), 0; i < len(plan); i++ {
		timer := time.NewTimer(time.Until(begun.Add(plan[i].at)))
		<-timer.C
		at := time.Since(begun)
		r.events = append(r.events, fmt.Sprintf("%.2fs %s", at.Seconds(), plan[i].do()))
	}
}

var packetsPattern = regexp.MustCompile(`\backnowledged=(\d+) .*\bpackets=(\d+)`)

// ended waits for the end of a publisher that has nothing left to send, and returns how many packets it has taken.
func (r *onceRun) ended(p *process) uint64 {
	r.t.Helper()
	await(r.t, p.done, onceWait, "the publisher ends")
	m := packetsPattern.FindStringSubmatch(p.log())
	if code := p.wait(); code != 0 || m == nil || m[1] != m[2] {
		r.t.Fatalf("the publisher ends with %d and says:\n%s", code, p.log())
	}
	n, err := strconv.ParseUint(m[2], 10, 64)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// judge ends the followers and looks at all that they have.
func (r *onceRun) judge() onceFaults {
	r.t.Helper()
	all := onceFaults{}
	for _, f := range r.followers {
		want := map[string]uint64{sourceForAll: r.sent[sourceForAll], sourceAtEnd: 1}
		if f.room != "" {
			want[sourceForOps] = r.sent[sourceForOps]
		}
		faults := judgeRecords(f.end(want), want)
		r.lines = append(r.lines, fmt.Sprintf("%s %s connections=%d", f.name, faults, f.connections()))
		if faults != (onceFaults{}) {
			r.t.Errorf("%s: %s", f.name, faults)
		}
		all.add(faults)
	}
	return all
}

// onceRecord is a packet as a follower got it.
type onceRecord struct {
	offset uint64 // 0: it came without one
	source string
	boot   string
	seq    uint64
}

// onceFaults count what is wrong with what a follower has.
type onceFaults struct {
	twice, disorder, missing int
	foreign                  int // packets that were not for it, or that nobody has published
	unplaced                 int // packets that came without their offset
}

func (f onceFaults) String() string {
	text := fmt.Sprintf("twice=%d disorder=%d missing=%d", f.twice, f.disorder, f.missing)
	if f.foreign+f.unplaced > 0 {
		text += fmt.Sprintf(" foreign=%d unplaced=%d", f.foreign, f.unplaced)
	}
	return text
}

func (f *onceFaults) add(more onceFaults) {
	f.twice += more.twice
	f.disorder += more.disorder
	f.missing += more.missing
	f.foreign += more.foreign
	f.unplaced += more.unplaced
}

// judgeRecords compares what came with the packets 1 to want of each source, of which each has run once.
func judgeRecords(records []onceRecord, want map[string]uint64) onceFaults {
	f, last, boots := onceFaults{}, map[string]uint64{}, map[string]string{}
	seen, offset := map[onceRecord]bool{}, uint64(0)
	for _, rec := range records {
		if boots[rec.source] == "" {
			boots[rec.source] = rec.boot
		}
		packet := onceRecord{source: rec.source, boot: rec.boot, seq: rec.seq}
		if rec.offset == 0 {
			f.unplaced++
		}
		switch {
		case rec.seq == 0 || rec.seq > want[rec.source] || rec.boot != boots[rec.source]:
			f.foreign++
		case seen[packet]:
			f.twice++
		case rec.seq < last[rec.source] || rec.offset != 0 && rec.offset <= offset:
			f.disorder++
		}
		seen[packet] = true
		last[rec.source] = max(last[rec.source], rec.seq)
		offset = max(offset, rec.offset)
	}
	for source, n := range want {
		for seq := uint64(1); seq <= n; seq++ {
			if !seen[onceRecord{source: source, boot: boots[source], seq: seq}] {
				f.missing++
			}
		}
	}
	return f
}

// The judge of the runs is not blind itself.
func TestJudgeRecords(t *testing.T) {
	rec := func(offset, seq uint64) onceRecord { return onceRecord{offset, "a", "boot", seq} }
	other := func(source, boot string) onceRecord { return onceRecord{9, source, boot, 1} }
	for name, c := range map[string]struct {
		records []onceRecord
		want    onceFaults
	}{
		"as it must be":        {[]onceRecord{rec(1, 1), rec(3, 2), rec(4, 3)}, onceFaults{}},
		"nothing":              {nil, onceFaults{missing: 3}},
		"the last is missing":  {[]onceRecord{rec(1, 1), rec(3, 2)}, onceFaults{missing: 1}},
		"the first is missing": {[]onceRecord{rec(3, 2), rec(4, 3)}, onceFaults{missing: 1}},
		"one twice":            {[]onceRecord{rec(1, 1), rec(3, 2), rec(3, 2), rec(4, 3)}, onceFaults{twice: 1}},
		"all twice":            {[]onceRecord{rec(1, 1), rec(3, 2), rec(4, 3), rec(1, 1), rec(3, 2), rec(4, 3)}, onceFaults{twice: 3}},
		"two changed places":   {[]onceRecord{rec(3, 2), rec(1, 1), rec(4, 3)}, onceFaults{disorder: 1}},
		"an offset goes back":  {[]onceRecord{rec(3, 1), rec(2, 2), rec(4, 3)}, onceFaults{disorder: 1}},
		"no offset":            {[]onceRecord{rec(1, 1), rec(0, 2), rec(4, 3)}, onceFaults{unplaced: 1}},
		"one too many":         {[]onceRecord{rec(1, 1), rec(2, 2), rec(3, 3), rec(4, 4)}, onceFaults{foreign: 1}},
		"another source":       {[]onceRecord{rec(1, 1), rec(2, 2), rec(3, 3), other("b", "boot")}, onceFaults{foreign: 1}},
		"another boot":         {[]onceRecord{rec(1, 1), rec(2, 2), rec(3, 3), other("a", "other")}, onceFaults{foreign: 1}},
	} {
		if got := judgeRecords(c.records, map[string]uint64{"a": 3}); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
