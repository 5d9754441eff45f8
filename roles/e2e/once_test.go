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

// The sources of a run of TestExactlyOnce. The last one sends a single packet, when everything that the others have
// sent is acknowledged: a follower that has it has everything before it in the journal, or will never have it.
const (
	sourceForAll = "tbm-all"
	sourceForOps = "tbm-ops"
	sourceAtEnd  = "tbm-end"
)

// onceWait bounds each wait of a run, in which every process shares its CPU with many others.
const onceWait = 5 * time.Minute

// onceForm is the extent of TestExactlyOnce.
type onceForm struct {
	delays  []time.Duration
	runs    int           // at each delay
	publish time.Duration // for how long each run publishes
	seed    uint64        // of the first run at each delay
}

// readOnceForm reads it from the environment.
func readOnceForm(t *testing.T) onceForm {
	t.Helper()
	ms := time.Millisecond
	f := onceForm{[]time.Duration{0, 50 * ms, 800 * ms}, 1, 8 * time.Second, 1 + rand.Uint64N(1e9)}
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
		f = onceForm{[]time.Duration{0, 5 * ms, 50 * ms, 150 * ms, 800 * ms}, int(n), 12 * time.Second, f.seed}
	}
	if n, given := number("TBMSOCK_ONCE_SEED"); given {
		f.seed = n
	}
	if text := os.Getenv("TBMSOCK_ONCE_DELAYS"); text != "" {
		f.delays = nil
		for one := range strings.SplitSeq(text, ",") {
			d, err := time.ParseDuration(strings.TrimSpace(one))
			if err != nil || d < 0 {
				t.Fatalf("TBMSOCK_ONCE_DELAYS=%q: not a list of durations such as 0,5ms", text)
			}
			f.delays = append(f.delays, d)
		}
	}
	return f
}

// Every follower gets every packet that is for it exactly once and in order: our logger and stock clients, with and
// without a room, over a link that is slow and fails, from a server that is killed, on a machine whose CPUs are
// saturated. The publishers' own counts say what must come, not the journal. The long form (make test-once) has twenty
// runs at each of five delays.
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
				t.Logf("delay=%s run=%d/%d seed=%d packets=%d %s, of the CPUs %.0f%% kept busy: %s",
					delay, run+1, form.runs, r.seed, r.packets, faults, 100*r.busy, strings.Join(r.lines, "; "))
			})
		}
	}
	t.Logf("total: runs=%d/%d %s", total, len(form.delays)*form.runs, all)
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
	sent      map[string]uint64 // packets that the publishers have taken, by source
	packets   uint64            // their sum
	failed    []string          // the failures, in turn
	lines     []string          // the verdict on each follower
	busy      float64           // share of the CPUs' time that the burners had
}

func startOnceRun(t *testing.T, form onceForm, delay time.Duration, seed uint64) *onceRun {
	t.Helper()
	r := &onceRun{t: t, form: form, seed: seed, rng: rand.New(rand.NewPCG(seed, uint64(delay))),
		addr: freeport.Address(t), dir: t.TempDir(), sent: map[string]uint64{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the same failures again, for packets of %v: TBMSOCK_ONCE_DELAYS=%s TBMSOCK_ONCE_SEED=%d\n  %s",
				form.publish, delay, seed, strings.Join(r.failed, "\n  "))
		}
	})
	r.read, r.write = newSlowLink(t, r.addr, delay), newSlowLink(t, r.addr, delay)
	r.server = r.serve()
	for _, f := range r.cast() {
		f.start(t)
		r.followers = append(r.followers, f)
	}
	for _, f := range r.followers {
		f.await(f.ready, "follows")
	}
	// From here on: before, nothing is sent, and a dozen programs take long to start beside so many busy processes.
	r.burners = startBurners(t)
	return r
}

// cast returns the followers of a run.
func (r *onceRun) cast() []*onceFollower {
	url := r.read.url()
	engine, transport := []string{"3", "4"}[r.rng.IntN(2)], "polling"
	if r.read.delay > 150*time.Millisecond {
		transport = "auto" // a poll brings a client few packets: by polling alone it would take minutes
	}
	logger := func(name, room string, flags ...string) *onceFollower {
		return loggerFollower(name, url, room, filepath.Join(r.dir, name+".jsonl"), flags...)
	}
	websocket := []string{"websocket"} // the default of every stock client is polling, and then an upgrade
	return []*onceFollower{
		logger("logger-ops", "ops"),
		logger("logger", ""),
		logger("logger-3-ops", "ops", "--engine", "3"),
		logger("logger-"+engine+"-"+transport, "", "--engine", engine, "--transport", transport),
		stockFollower("js4-ops", "node", stockOptions{Version: "4", URL: url, Room: "ops"}),
		stockFollower("js4", "node", stockOptions{Version: "4", URL: url, Transports: websocket, Auth: true}),
		stockFollower("js2-ops", "node", stockOptions{Version: "2", URL: url, Transports: websocket, Room: "ops"}),
		stockFollower("js2", "node", stockOptions{Version: "2", URL: url}),
		stockFollower("python-ops", "python", stockOptions{URL: url, Room: "ops"}),
		stockFollower("python", "python", stockOptions{URL: url, Transports: websocket, Auth: true}),
	}
}

func (r *onceRun) serve() *process {
	data := filepath.Join(r.dir, "data")
	p := start(r.t, tbmsock(r.t), "server", "--listen", r.addr, "--data-dir", data, "--web", "off")
	p.url()
	return p
}

// goThrough publishes, lets the links and the server fail meanwhile, and waits until everything has come.
func (r *onceRun) goThrough() {
	r.t.Helper()
	publisher := func(url, source string, rate, count int, flags ...string) *process {
		return start(r.t, tbmsock(r.t), append([]string{"telemetry", "--url", url, "--source", source,
			"--rate", fmt.Sprint(rate, "hz"), "--count", fmt.Sprint(count), "--drain", onceWait.String()}, flags...)...)
	}
	seconds := int(r.form.publish / time.Second)
	publishers := map[string]*process{
		sourceForAll: publisher(r.write.url(), sourceForAll, 100, 100*seconds, "--encoding", "json"),
		sourceForOps: publisher(r.write.url(), sourceForOps, 50, 50*seconds, "--encoding", "protobuf", "--room", "ops"),
	}
	r.followers[0].await(r.followers[0].first, "has its first packet")
	r.failures()
	for source, p := range publishers {
		r.sent[source] = r.ended(p)
		r.packets += r.sent[source]
	}
	if want := uint64(150 * seconds); r.packets != want {
		r.t.Errorf("%d packets were published, want %d", r.packets, want)
	}
	r.ended(publisher("http://"+r.addr, sourceAtEnd, 1, 1))
	for _, f := range r.followers {
		f.await(f.last, "has the last packet")
	}
	r.busy = r.burners.stop()
}

// failures lets each link fail three times and kills the server, at random moments while packets are published.
func (r *onceRun) failures() {
	type failure struct {
		at time.Duration
		do func() string
	}
	var plan []failure
	// A failure of each kind in each part of the time: the clients need some to come back in.
	add := func(part, parts int, do func() string) {
		length := r.form.publish * 9 / 10 / time.Duration(parts)
		plan = append(plan, failure{time.Duration(part)*length + time.Duration(r.rng.Int64N(int64(length))), do})
	}
	for n := range 3 {
		add(n, 3, func() string { return "read link: " + r.read.fail(r.rng) })
		add(n, 3, func() string { return "write link: " + r.write.fail(r.rng) })
	}
	add(0, 1, func() string {
		r.server.kill()
		timer := time.NewTimer(time.Duration(r.rng.IntN(1000)) * time.Millisecond) // how long there is no server
		<-timer.C
		r.server = r.serve()
		return "server: killed and restarted"
	})
	slices.SortFunc(plan, func(a, b failure) int { return cmp.Compare(a.at, b.at) })
	for begun, i := time.Now(), 0; i < len(plan); i++ {
		timer := time.NewTimer(time.Until(begun.Add(plan[i].at)))
		<-timer.C
		at := time.Since(begun)
		r.failed = append(r.failed, fmt.Sprintf("%.2fs %s", at.Seconds(), plan[i].do()))
	}
}

var packetsPattern = regexp.MustCompile(`\backnowledged=(\d+) .*\bpackets=(\d+)`)

// ended waits until a publisher has ended, with everything acknowledged, and returns how many packets it has taken.
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

// judge ends the followers and compares what they have with what was published.
func (r *onceRun) judge() onceFaults {
	r.t.Helper()
	all := onceFaults{}
	for _, f := range r.followers {
		want := map[string]uint64{sourceForAll: r.sent[sourceForAll], sourceAtEnd: 1}
		if f.room != "" {
			want[sourceForOps] = r.sent[sourceForOps]
		}
		faults := judgeRecords(f.end(want), want)
		connections := f.connections()
		r.lines = append(r.lines, fmt.Sprintf("%s %s connections=%d", f.name, faults, connections))
		if connections < 2 {
			r.t.Errorf("%s: %d connections, though the links were cut", f.name, connections)
		}
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

// judgeRecords compares what came with what was published: packets 1 to want[source] of each source, which ran once.
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
		"two twice":            {[]onceRecord{rec(1, 1), rec(3, 2), rec(1, 1), rec(3, 2), rec(4, 3)}, onceFaults{twice: 2}},
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
