package roles

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"tbmsock/transport"
	"tbmsock/transport/journal"
)

// fill makes a journal in dir: two runs of tbm-1, the second with a hole and a late one, one of tbm-2, and a value
// that is no envelope.
func fill(t *testing.T, dir string) *journal.Journal {
	t.Helper()
	j, err := journal.Open(t.Context(), journal.Options{Dir: dir, Node: "node-1"})
	if err != nil {
		t.Fatal(err)
	}
	put := func(source, boot string, seq uint64, value string, attachments ...[]byte) {
		t.Helper()
		done := make(chan error, 1)
		e := transport.JournalEntry{Source: source, Boot: boot, Seq: seq, Namespace: "/", Sid: "s1", Room: "ops", Value: transport.Value{JSON: []byte(value), Attachments: attachments}}
		if seq > 0 {
			e.Time = time.Unix(int64(1_800_000_000+seq), 0).UTC()
		}
		j.Append(t.Context(), e, func(_ uint64, _ bool, err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for seq := uint64(1); seq <= 5; seq++ {
		put("tbm-1", "a", seq, fmt.Sprintf(`{"seq":%d}`, seq))
	}
	for _, seq := range []uint64{1, 2, 6, 4} {
		put("tbm-1", "b", seq, `"<x>"`)
	}
	put("tbm-2", "c", 1, `{"_placeholder":true,"num":0}`, []byte{1, 2, 3})
	put("", "", 0, `42`)
	return j
}

func closeJournal(t *testing.T, j *journal.Journal) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := j.Close(ctx); err != nil {
		t.Error(err)
	}
}

// command runs tbmsock and returns its exit code and what it wrote.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out, errOut bytes.Buffer
	code = Main(ctx, append([]string{"tbmsock"}, args...), &out, &errOut)
	return code, out.String(), errOut.String()
}

func TestJournalCommand(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	j := fill(t, dir)
	// The same from a running server and from what it leaves.
	for _, state := range []string{"running", "stopped"} {
		if state == "stopped" {
			closeJournal(t, j)
		}
		t.Run(state, func(t *testing.T) {
			place := []string{"--data-dir", dir}
			journal := func(args ...string) string {
				t.Helper()
				code, out, errOut := command(t, append(append([]string{"journal", args[0]}, place...), args[1:]...)...)
				if code != 0 || errOut != "" {
					t.Fatalf("%v: code %d, %s", args, code, errOut)
				}
				return out
			}
			list := strings.Split(journal("ls"), "\n")
			want := []string{"SOURCE BOOT ENTRIES SEQ MISSING OFFSETS FIRST LAST", "tbm-1 a 5 1-5 0 1-5", "tbm-1 b 4 1-6 2 6-9", "tbm-2 c 1 1-1 0 10-10", "(others) 1"}
			if len(list) != 7 || !strings.HasPrefix(list[0], dir+": journal ") || !strings.Contains(list[0], ", offsets 1 to 11, ") {
				t.Fatalf("ls: %q", list)
			}
			for i, w := range want {
				if got := strings.Join(strings.Fields(list[i+1]), " "); !strings.HasPrefix(got, w) {
					t.Errorf("ls: line %d is %q, want %q", i+1, got, w)
				}
			}
			var parsed struct {
				Last uint64 `json:"last_offset"`
				Runs []struct {
					Source  string
					Missing int
				}
			}
			if err := json.Unmarshal([]byte(journal("ls", "--format", "json")), &parsed); err != nil || parsed.Last != 11 || len(parsed.Runs) != 3 || parsed.Runs[1].Missing != 2 {
				t.Errorf("ls as JSON: %+v, %v", parsed, err)
			}

			for args, want := range map[string]string{
				"":                             "1 2 3 4 5 6 7 8 9 10 11",
				"--from 4 --to 6":              "4 5 6",
				"--last 2":                     "10 11",
				"--source tbm-2":               "10",
				"--source tbm-2 --source x":    "10",
				"--since 1h --until 1h":        "",
				"--until 1h --since 60m":       "",
				"--from 4 --to 4":              "4",
				"--until 2020-01-01T00:00:00Z": "",
				"--since 2020-01-01T00:00:00Z --to 1 --format json": "1",
			} {
				var offsets []string
				for line := range strings.Lines(journal(append([]string{"cat"}, strings.Fields(args)...)...)) {
					var e struct{ Offset json.Number }
					if err := json.Unmarshal([]byte(line), &e); err != nil {
						t.Fatal(err)
					}
					offsets = append(offsets, e.Offset.String())
				}
				if got := strings.Join(offsets, " "); got != want {
					t.Errorf("cat %s: %s, want %s", args, got, want)
				}
			}
			line := journal("cat", "--from", "8", "--to", "8")
			if !strings.Contains(line, `"source":"tbm-1","boot":"b","seq":6,"time":"2027-01-15T08:00:06Z","room":"ops","namespace":"/","sid":"s1","node":"node-1","value":"<x>"}`) {
				t.Errorf("cat: %s", line)
			}
			if line := journal("cat", "--source", "tbm-2"); !strings.Contains(line, `"value":"AQID"`) {
				t.Errorf("cat: %s", line)
			}

			file := filepath.Join(t.TempDir(), "all.csv")
			if out := journal("export", "--format", "csv", "--output", file); out != "11 entries written to "+file+"\n" {
				t.Errorf("export: %s", out)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
			if err != nil || len(rows) != 12 || rows[0][0] != "offset" || rows[8][4] != "6" || rows[11][10] != "42" {
				t.Errorf("export: %q, %v", rows, err)
			}
			if files, _ := filepath.Glob(file + "*"); len(files) != 1 {
				t.Errorf("export leaves %v", files)
			}
			exportAgain(t, place, file)

			verified := journal("verify")
			if !strings.Contains(verified, "tbm-1 b: seq 1 to 6: 2 missing in 2 gaps, 1 came late\n") || !strings.Contains(verified, "11 entries, offsets 1 to 11 without a hole, each readable, none twice\n") {
				t.Errorf("verify: %s", verified)
			}
		})
	}
}

// An export once renamed over a file without asking.
func exportAgain(t *testing.T, place []string, file string) {
	t.Helper()
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"journal", "export", "--output", file}, place...)
	code, out, errOut := command(t, args...)
	if want := "tbmsock journal export: --output " + file + ": the file is there already; name another, or replace it with --force\n"; code != exitError || out != "" || errOut != want {
		t.Errorf("code %d, %s%s, want %s", code, out, errOut, want)
	}
	if files, _ := filepath.Glob(file + "*"); len(files) != 1 {
		t.Errorf("an export that was refused leaves %v", files)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "mine" {
		t.Errorf("the file holds %q, %v", data, err)
	}
	if code, out, errOut := command(t, append(args, "--force")...); code != 0 || out != "11 entries written to "+file+"\n" {
		t.Errorf("with --force: code %d, %s%s", code, out, errOut)
	}
}

// What the environment says for a server or a logger once broke the journal's commands: TBMSOCK_SINCE=all is no time for
// them, and TBMSOCK_NATS stood against --data-dir.
func TestJournalLeavesTheEnvironmentOfOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	closeJournal(t, fill(t, dir))
	output := filepath.Join(t.TempDir(), "logged.csv")
	for name, value := range map[string]string{"SINCE": "all", "FROM": "2026-01-05T06:00:00Z", "SOURCE": "tbm-2", "FORMAT": "text", "OUTPUT": output} {
		t.Setenv("TBMSOCK_"+name, value)
	}
	for _, tc := range []struct{ name, env, args, want string }{
		{"directory on the command line", "TBMSOCK_NATS=nats://127.0.0.1:1", "cat --from 10 --data-dir " + dir, `{"offset":10`},
		{"directory in the environment", "TBMSOCK_DATA_DIR=" + dir, "cat --last 1", `{"offset":11`},
		{"cluster on the command line", "TBMSOCK_DATA_DIR=" + dir, "cat --nats nats://127.0.0.1:1", "tbmsock journal cat: journal at nats://127.0.0.1:1: "},
		{"both in the environment", "TBMSOCK_DATA_DIR=" + dir + " TBMSOCK_NATS=nats://127.0.0.1:1", "cat", "tbmsock journal cat: journal at nats://127.0.0.1:1: "},
		{"every source", "", "verify --data-dir " + dir, "tbm-1 b: seq 1 to 6"},
		{"no output", "", "export --data-dir " + dir, "tbmsock journal export: name the file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, e := range strings.Fields(tc.env) {
				name, value, _ := strings.Cut(e, "=")
				t.Setenv(name, value)
			}
			if _, out, errOut := command(t, append([]string{"journal"}, strings.Fields(tc.args)...)...); !strings.HasPrefix(out+errOut, tc.want) {
				t.Errorf("%s%s, want %s", out, errOut, tc.want)
			}
		})
	}
}

// follower's output, line by line.
type lineWriter chan string

func (w lineWriter) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		w <- line
	}
	return len(p), nil
}

func TestJournalFollow(t *testing.T) {
	dir := t.TempDir()
	j := fill(t, dir)
	defer closeJournal(t, j)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out := make(lineWriter, 100)
	code := make(chan int)
	go func() {
		code <- Main(ctx, []string{"tbmsock", "journal", "cat", "--data-dir", dir, "--last", "1", "--follow", "--format", "csv"}, out, os.Stderr)
	}()
	next := func() string {
		select {
		case line := <-out:
			return line
		case <-ctx.Done():
			t.Fatal("no further line")
			return ""
		}
	}
	if line := next(); !strings.HasPrefix(line, "offset,") {
		t.Error(line)
	}
	if line := next(); !strings.HasPrefix(line, "11,") {
		t.Error(line)
	}
	j.Append(ctx, transport.JournalEntry{Source: "tbm-9", Boot: "z", Seq: 1, Value: transport.Value{JSON: []byte("1")}}, func(uint64, bool, error) {})
	if line := next(); !strings.HasPrefix(line, "12,") || !strings.Contains(line, "tbm-9") {
		t.Error(line)
	}
	cancel()
	if c := <-code; c != 0 {
		t.Errorf("code %d", c)
	}
}

// A byte that the disk has changed is found.
func TestJournalVerifyFindsDamage(t *testing.T) {
	dir := t.TempDir()
	closeJournal(t, fill(t, dir))
	files, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "TBM", "msgs", "*.blk"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(data, []byte(`{"seq":3}`))
	if i < 0 {
		t.Fatal("the entry is not there as it came")
	}
	data[i+7] = '4'
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := command(t, "journal", "verify", "--data-dir", dir)
	if code != 1 || !strings.Contains(out, "offset 4 follows 2\n") || !strings.HasSuffix(errOut, " is damaged, see above\n") {
		t.Errorf("code %d\n%s\n%s", code, out, errOut)
	}
	t.Logf("verify says: %s%s", out, errOut)
}

func TestJournalUsage(t *testing.T) {
	dir := t.TempDir()
	for args, want := range map[string]string{
		"":                      "tbmsock journal: use ls, cat, export or verify",
		"bogus":                 `tbmsock journal: unexpected argument "bogus"`,
		"cat extra":             `tbmsock journal cat: unexpected argument "extra"`,
		"cat --from 0":          "tbmsock journal cat: --from 0: use a whole number",
		"cat --since yesterday": "tbmsock journal cat: --since yesterday: use a time such as",
		"cat --from 1 --last 2": "tbmsock journal cat: use one of --from, --last and --since",
		// A range that ends before it begins was once taken for an empty one.
		"cat --from 5 --to 3":      "tbmsock journal cat: --from 5 lies behind --to 3: nothing",
		"ls --since 1h --until 2h": "tbmsock journal ls: --since 1h is later than --until 2h: nothing",
		"ls --since 2026-01-02T00:00:00Z --until 2026-01-01T00:00:00Z": "tbmsock journal ls: --since 2026-01-02T00:00:00Z is later than --until 2026-01-01T00:00:00Z",
		"ls --data-dir x --nats y":                                     "tbmsock journal ls: use --data-dir or --nats, not both",
		"export":                                                       "tbmsock journal export: name the file",
		"export --format xml":                                          "tbmsock journal export: --format xml: use json or csv",
	} {
		code, _, errOut := command(t, append([]string{"journal"}, strings.Fields(args)...)...)
		if code != exitUsage || !strings.HasPrefix(errOut, want) {
			t.Errorf("%q: code %d, %s", args, code, errOut)
		}
	}
	none := filepath.Join(dir, "none")
	if code, _, errOut := command(t, "journal", "ls", "--data-dir", none); code != exitError || errOut != "tbmsock journal ls: journal in "+none+": there is no journal\n" {
		t.Errorf("code %d, %s", code, errOut)
	}
}

// A command that was interrupted once ended with code 0 and said nothing: a script took a journal for verified, and a file
// for written.
func TestJournalInterrupted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	closeJournal(t, fill(t, dir))
	file := filepath.Join(t.TempDir(), "all.jsonl")
	for _, tc := range []struct {
		name string
		args []string
		run  func(*cli.Context, *journalReader) error
		want string
	}{
		{"journal ls", nil, journalList, "tbmsock journal ls: interrupted before it was done"},
		{"journal verify", nil, journalVerify, "tbmsock journal verify: interrupted before it was done"},
		{"journal export", []string{"--output", file}, journalExport, "tbmsock journal export: interrupted before it was done"},
		{"journal cat", nil, journalCat, "tbmsock journal cat: interrupted before it was done"},
		{"journal cat", []string{"--follow"}, journalCat, ""}, // which ends in no other way
	} {
		t.Run(strings.Join(append([]string{tc.name}, tc.args...), " "), func(t *testing.T) {
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			app := &cli.App{
				Writer: io.Discard, ErrWriter: os.Stderr,
				Flags: slices.Concat(journalPlaceFlags(), journalRangeFlags(), logFlags(), []cli.Flag{
					choiceFlag("format", "", "json"), textFlag("output", "", ""), &cli.BoolFlag{Name: "follow"}}),
				Action: func(c *cli.Context) error {
					return runJournal(c, tc.name, func(c *cli.Context, r *journalReader) error {
						interrupt()
						return tc.run(c, r)
					})
				},
			}
			err := app.RunContext(ctx, append([]string{"tbmsock", "--data-dir", dir}, tc.args...))
			if got := fmt.Sprint(err); got != tc.want && (err != nil || tc.want != "") {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	if files, _ := filepath.Glob(file + "*"); len(files) > 0 {
		t.Errorf("an export that was interrupted leaves %v", files)
	}
}

// Who follows up to an offset ends with it, and does not wait for the next one.
func TestJournalFollowEnds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	closeJournal(t, fill(t, dir))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out bytes.Buffer
	// Also where the last is of another source.
	code := Main(ctx, []string{"tbmsock", "journal", "cat", "--data-dir", dir, "--from", "10", "--to", "11", "--source", "tbm-2", "--follow"}, &out, os.Stderr)
	if code != 0 || ctx.Err() != nil || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("ended with %d, %v, after %q", code, ctx.Err(), out.String())
	}
}

// A server's clock was ahead for a moment: all later entries had that time, and --until now showed those before it
// alone.
func TestJournalRangeAfterTheClockWasAhead(t *testing.T) {
	began := time.Now().Add(-10 * time.Minute)
	for _, corrected := range []bool{true, false} {
		t.Run(fmt.Sprintf("corrected %v", corrected), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			var mu sync.Mutex
			wall := began
			set := func(t time.Time) { mu.Lock(); defer mu.Unlock(); wall = t }
			j, err := journal.Open(t.Context(), journal.Options{Dir: dir, Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return wall }})
			if err != nil {
				t.Fatal(err)
			}
			for n := 1; n <= 140; n++ {
				at := began.Add(time.Duration(n) * time.Second)
				if n > 60 && n <= 70 || n > 60 && !corrected {
					at = at.Add(24 * time.Hour)
				}
				set(at)
				done := make(chan error, 1)
				j.Append(t.Context(), transport.JournalEntry{Value: transport.Value{JSON: []byte(`1`)}}, func(_ uint64, _ bool, err error) { done <- err })
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			closeJournal(t, j)
			for args, want := range map[string]int{
				"--until now": 140,
				"--until " + time.Now().Add(time.Hour).Format(time.RFC3339):             140,
				"--until " + began.Add(30500*time.Millisecond).Format(time.RFC3339Nano): 30,
				"--since " + began.Add(30500*time.Millisecond).Format(time.RFC3339Nano): 110,
				"--since 1h --until now":                140,
				"--until now --follow --to 140":         140,
				"--until 2020-01-01T00:00:00Z --follow": 0,
			} {
				code, out, errOut := command(t, append([]string{"journal", "cat", "--data-dir", dir}, strings.Fields(args)...)...)
				if n := strings.Count(out, "\n"); code != 0 || n != want {
					t.Errorf("%s: code %d, %d entries, want %d; %s", args, code, n, want, errOut)
				}
			}
			if corrected {
				until := began.Add(100500 * time.Millisecond).Format(time.RFC3339Nano)
				if _, out, _ := command(t, "journal", "cat", "--data-dir", dir, "--until", until); strings.Count(out, "\n") != 100 {
					t.Errorf("until entry 100: %d entries", strings.Count(out, "\n"))
				}
			}
		})
	}
}
