package roles

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"tbmsock/transport"
	"tbmsock/transport/journal"
)

const defaultDataDir = "tbmsock-data"

// journalPlaceFlags say which journal is read.
func journalPlaceFlags() []cli.Flag {
	return []cli.Flag{
		layeredFlag{valueFlag("data-dir", "directory of a server's journal; the server may be running", &layeredText{text: defaultDataDir})},
		layeredFlag{valueFlag("nats", "URL of the NATS cluster that keeps the journal, in place of a directory", &layeredText{})},
	}
}

// journalPlace is the journal that they name, as a server chooses: a cluster before a directory. What stands on the command
// line goes before what the environment says for the server.
func journalPlace(c *cli.Context) (journal.Options, error) {
	dir, nats := c.Generic("data-dir").(*layeredText), c.Generic("nats").(*layeredText)
	switch {
	case dir.given && nats.given:
		return journal.Options{}, errors.New("use --data-dir or --nats, not both")
	case nats.text != "" && !dir.given:
		return journal.Options{URL: nats.text}, nil
	}
	return journal.Options{Dir: dir.text}, nil
}

func journalCommand() *cli.Command {
	command := func(name, usage, example string, flags []cli.Flag, run func(*cli.Context, *journalReader) error) *cli.Command {
		full := "journal " + name
		return &cli.Command{
			Name:            name,
			Usage:           usage,
			Description:     "Example: tbmsock " + full + example,
			HideHelpCommand: true,
			Flags:           slices.Concat(journalPlaceFlags(), withoutEnv(slices.Concat(journalRangeFlags(), flags)...), logFlags()),
			OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return &usageError{full, flagError(err)} },
			Action: func(c *cli.Context) error {
				if c.Args().Present() {
					return &usageError{full, fmt.Errorf("unexpected argument %q", c.Args().First())}
				}
				return runJournal(c, full, run)
			},
		}
	}
	commands := []*cli.Command{
		command("ls", "list sources and their runs, with what is missing", " --since 24h", []cli.Flag{
			choiceFlag("format", "form of the list", "text", "json"),
		}, journalList),
		command("cat", "print entries", " --last 10 --follow", []cli.Flag{
			choiceFlag("format", "form of an entry", "json", "csv"),
			csvSafeFlag(),
			&cli.BoolFlag{Name: "follow", Usage: "go on with what comes"},
		}, journalCat),
		command("export", "write entries to a file, which is complete when it is there", " --since 2026-11-23T00:00:00Z --until 2026-11-24T00:00:00Z --output monday.csv --format csv", []cli.Flag{
			choiceFlag("format", "form of an entry", "json", "csv"),
			csvSafeFlag(),
			textFlag("output", "the file", ""),
			&cli.BoolFlag{Name: "force", Usage: "replace a file that is there already"},
		}, journalExport),
		command("verify", "read everything, and tell what is missing, twice there or unreadable", "", nil, journalVerify),
	}
	return &cli.Command{
		Name:        "journal",
		Usage:       "look at what a server has stored: ls, cat, export, verify",
		Description: "Reads the directory of a server, running or not, or a NATS cluster.\n\nExample: tbmsock journal cat --last 10",
		Subcommands: commands,
		Action: func(*cli.Context) error {
			return &usageError{"journal", errors.New("use ls, cat, export or verify")}
		},
	}
}

// journalReader is an open journal, and which of its entries are wanted.
type journalReader struct {
	journal  *journal.Journal
	from, to uint64    // offsets
	until    time.Time // of entries behind known: those up to there are chosen by their offsets
	known    uint64
	sources  []string
	format   string
}

func runJournal(c *cli.Context, name string, run func(*cli.Context, *journalReader) error) error {
	log := newLog(c, c.App.ErrWriter)
	r := &journalReader{sources: listOf(c, "source"), format: "text"}
	if c.Generic("format") != nil {
		r.format = choiceOf(c, "format")
	}
	opts, err := journalPlace(c)
	if err != nil {
		return &usageError{name, err}
	}
	opts.CacheBytes, opts.OnWarning = 1, func(s string) { log.Warn(s) }
	if name == "journal export" && c.String("output") == "" {
		return &usageError{name, errors.New("name the file: --output monday.csv")}
	}
	now := time.Now()
	span, err := journalRange(c, now)
	if err != nil {
		return &usageError{name, err}
	}
	fail := func(err error) error { return fmt.Errorf("tbmsock %s: %w", name, err) }
	j, err := journal.OpenReader(c.Context, opts)
	if err != nil {
		return fail(err)
	}
	r.journal = j
	r.to = span.to
	if r.from, err = j.Locate(c.Context, span.start); err == nil {
		err = r.end(c.Context, span.until, now)
	}
	if err == nil {
		err = run(c, r)
	}
	// It was only read: nothing can be lost now.
	err = errors.Join(err, j.Close(context.WithoutCancel(c.Context)))
	switch {
	case err == nil:
		return nil
	case c.Err() == nil:
		return fail(err)
	case c.Bool("follow"):
		return nil // it ends in no other way
	case errors.Is(err, context.Canceled):
		return fail(errors.New("interrupted before it was done"))
	}
	return fail(err)
}

// end applies --until. An entry that is there has been stored, whatever the clock said then: a time that is not yet
// past keeps none of them out.
func (r *journalReader) end(ctx context.Context, until, now time.Time) error {
	if until.IsZero() {
		return nil
	}
	state, err := r.journal.State(ctx)
	if err != nil {
		return err
	}
	r.until, r.known = until, state.Last
	if until.Before(now) {
		last, err := r.journal.LastBefore(ctx, until)
		if err != nil {
			return err
		}
		r.to = min(r.to, last)
	}
	return nil
}

// errEnd ends a walk.
var errEnd = errors.New("end")

// each calls f with each entry of the range; those of other sources only if all is true.
func (r *journalReader) each(ctx context.Context, all bool, f func(*transport.JournalEntry) error) error {
	for e, err := range r.journal.Read(ctx, r.from, r.to) {
		if err != nil {
			return err
		}
		if err := r.one(&e, all, f); errors.Is(err, errEnd) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (r *journalReader) one(e *transport.JournalEntry, all bool, f func(*transport.JournalEntry) error) error {
	if e.Offset > r.to || !r.until.IsZero() && e.Offset > r.known && !e.Stored.Before(r.until) {
		return errEnd
	}
	if all || len(r.sources) == 0 || slices.Contains(r.sources, e.Source) {
		if err := f(e); err != nil {
			return err
		}
	}
	if e.Offset == r.to { // who follows would wait for the next one to see that
		return errEnd
	}
	return nil
}

// journalCat prints entries.
func journalCat(c *cli.Context, r *journalReader) error {
	w := newEntryWriter(c.App.Writer, r.format, c.Bool("csv-safe"))
	if !c.Bool("follow") || r.to < r.from { // nothing that may come is wanted
		return errors.Join(r.each(c.Context, false, w.write), w.flush())
	}
	err := r.journal.Tail(c.Context, r.from, func(entries []transport.JournalEntry) error {
		for i := range entries {
			if err := r.one(&entries[i], false, w.write); err != nil {
				return err
			}
		}
		return w.flush()
	})
	if errors.Is(err, errEnd) {
		err = nil
	}
	return errors.Join(err, w.flush())
}

// journalExport writes a file beside the one that is asked for, and renames it when it is complete.
func journalExport(c *cli.Context, r *journalReader) (err error) {
	name := c.String("output")
	part := name + ".part"
	if err := mayWrite(name, c.Bool("force")); err != nil {
		return err
	}
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(part)
		}
	}()
	n := 0
	w := newEntryWriter(f, r.format, c.Bool("csv-safe"))
	if err := r.each(c.Context, false, func(e *transport.JournalEntry) error { n++; return w.write(e) }); err != nil {
		return err
	}
	if err := errors.Join(w.flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := mayWrite(name, c.Bool("force")); err != nil { // it may have come meanwhile
		return err
	}
	if err := os.Rename(part, name); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "%d entries written to %s\n", n, name)
	return nil
}

// mayWrite refuses a file that is there.
func mayWrite(name string, force bool) error {
	_, err := os.Lstat(name)
	switch {
	case err == nil && !force:
		return fmt.Errorf("--output %s: the file is there already; name another, or replace it with --force", name)
	case errors.Is(err, os.ErrNotExist):
		return nil
	}
	return err
}

// tally is what has been seen of a range.
type tally struct {
	tracker     transport.Tracker
	runs        map[[2]string]*runTally
	entries     uint64
	first, last transport.JournalEntry // without their values
	jumps       []string               // where offsets are missing
	others      uint64                 // entries that are no envelopes
}

type runTally struct{ first, last transport.JournalEntry }

func (r *journalReader) tally(ctx context.Context) (*tally, error) {
	t := &tally{tracker: transport.Tracker{Unbounded: true}, runs: map[[2]string]*runTally{}}
	err := r.each(ctx, true, func(e *transport.JournalEntry) error {
		place := transport.JournalEntry{Offset: e.Offset, Stored: e.Stored}
		switch {
		case t.entries == 0:
			t.first = place
		case e.Offset != t.last.Offset+1:
			t.jumps = append(t.jumps, fmt.Sprintf("offset %d follows %d", e.Offset, t.last.Offset))
		}
		t.last = place
		t.entries++
		if len(r.sources) > 0 && !slices.Contains(r.sources, e.Source) {
			return nil
		}
		if e.Seq == 0 {
			t.others++
			return nil
		}
		t.tracker.Add(&transport.Envelope{Source: e.Source, Boot: e.Boot, Seq: e.Seq})
		run := t.runs[[2]string{e.Source, e.Boot}]
		if run == nil {
			run = &runTally{first: place}
			t.runs[[2]string{e.Source, e.Boot}] = run
		}
		run.last = place
		return nil
	})
	return t, err
}

// journalList lists sources and runs.
func journalList(c *cli.Context, r *journalReader) error {
	t, err := r.tally(c.Context)
	if err != nil {
		return err
	}
	state, err := r.journal.State(c.Context)
	if err != nil {
		return err
	}
	if r.format == "json" {
		return writeListJSON(c.App.Writer, t, state)
	}
	if state.First == 0 {
		_, err := fmt.Fprintf(c.App.Writer, "%s: journal %s, empty; the next offset is %d\n", r.journal.Place(), state.ID, state.Last+1)
		return err
	}
	fmt.Fprintf(c.App.Writer, "%s: journal %s, offsets %d to %d, %s\n", r.journal.Place(), state.ID, state.First, state.Last, roughBytes(state.Bytes))
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SOURCE\tBOOT\tENTRIES\tSEQ\tMISSING\tOFFSETS\tFIRST\tLAST")
	for _, s := range t.tracker.Stats() {
		run := t.runs[[2]string{s.Source, s.Boot}]
		fmt.Fprintf(w, "%s\t%s\t%d\t%d-%d\t%d\t%d-%d\t%s\t%s\n", sourceName(s.Source), sourceName(s.Boot), s.Received, s.First, s.Last, s.Missing,
			run.first.Offset, run.last.Offset, shortTime(run.first.Stored), shortTime(run.last.Stored))
	}
	if t.others > 0 {
		fmt.Fprintf(w, "(others)\t\t%d\t\t\t\t\t\n", t.others)
	}
	return w.Flush()
}

// journalVerify tells what is wrong. What a source never sent, or its queue gave up, is missing too; the journal
// cannot know why.
func journalVerify(c *cli.Context, r *journalReader) error {
	t, err := r.tally(c.Context)
	if err != nil {
		return err
	}
	out := c.App.Writer
	for _, s := range t.tracker.Stats() {
		if s.Missing > 0 || s.OutOfOrder > 0 {
			fmt.Fprintf(out, "%s %s: seq %d to %d: %d missing in %d gaps, %d came late\n", sourceName(s.Source), sourceName(s.Boot), s.First, s.Last, s.Missing, s.Gaps, s.OutOfOrder)
		}
	}
	var wrong []string
	for _, s := range t.tracker.Stats() {
		if s.Repeats > 0 {
			wrong = append(wrong, fmt.Sprintf("%s %s: %d entries are there twice", sourceName(s.Source), sourceName(s.Boot), s.Repeats))
		}
	}
	wrong = append(wrong, t.jumps...)
	if n := r.journal.Unreadable(); n > 0 {
		wrong = append(wrong, fmt.Sprintf("%d blocks cannot be read", n))
	}
	if len(wrong) > 0 {
		for _, s := range wrong {
			fmt.Fprintln(out, s)
		}
		return fmt.Errorf("%s is damaged, see above", r.journal.Place())
	}
	state, err := r.journal.State(c.Context)
	if err != nil {
		return err
	}
	if t.entries == 0 {
		_, err = fmt.Fprintf(out, "journal %s: nothing to verify\n", state.ID)
		return err
	}
	_, err = fmt.Fprintf(out, "journal %s: %d entries, offsets %d to %d without a hole, each readable, none twice\n", state.ID, t.entries, t.first.Offset, t.last.Offset)
	return err
}
