package roles

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tbmsock/telemetry"
	"tbmsock/telemetry/recording"
	"tbmsock/telemetry/simulator"
)

// A compressed file that was cut off ends a plot with an error: it read the end again and again, and could not be stopped.
func TestPlotOfACutFileEnds(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	readings(t, simulator.EPB, 100, time.Second, func(r *recording.Record) { _, _ = z.Write(r.AppendJSON(nil)) })
	_ = z.Close()
	path := filepath.Join(t.TempDir(), "p.jsonl.gz")
	if err := os.WriteFile(path, b.Bytes()[:b.Len()/2], 0o600); err != nil {
		t.Fatal(err)
	}
	p := &plotter{dictionary: telemetry.DefaultDictionary()}
	if err := p.read(context.Background(), path); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the cut file gives %v", err)
	}
	stopped, stop := context.WithCancel(context.Background())
	stop()
	if err := p.read(stopped, path); !errors.Is(err, context.Canceled) {
		t.Errorf("a plot that was stopped gives %v", err)
	}
}
