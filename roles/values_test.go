package roles

import (
	"testing"
	"time"
)

func TestParsePeriod(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"10hz": 100 * time.Millisecond, "0.5hz": 2 * time.Second, "2khz": 500 * time.Microsecond, "600/min": 100 * time.Millisecond,
		"100ms": 100 * time.Millisecond, "10 Hz": 100 * time.Millisecond, "1/h": time.Hour, "3hz": 333333333, "5/s": 200 * time.Millisecond,
		"": 0, "fast": 0, "0hz": 0, "-1hz": 0, "10": 0, "2.1khz": 0, "0.1/h": 0, "1e9hz": 0, "10 hzz": 0,
	} {
		got, err := parsePeriod(in)
		if (err != nil) != (want == 0) || got != want {
			t.Errorf("%q: got %v, %v, want %v", in, got, err, want)
		}
	}
}

func TestBytesValue(t *testing.T) {
	for in, want := range map[string]int64{
		"1MB": 1e6, "1MiB": 1 << 20, "1.5kB": 1500, "64": 64, "64 KiB": 64 << 10, "10mib": 10 << 20,
		"": 0, "1XB": 0, "-1": 0, "99TiB": 0, "1 2": 0, "10": 0,
	} {
		v := bytesValue{min: 64, max: 1 << 40}
		if err := v.Set(in); (err != nil) != (want == 0) || v.n != want {
			t.Errorf("%q: got %d, %v, want %d", in, v.n, err, want)
		}
	}
	for n, want := range map[int64]string{1 << 20: "1MiB", 1e6: "1MB", 1500: "1500B", 64 << 10: "64KiB", 3e9: "3GB"} {
		if got := formatBytes(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestCompressValue(t *testing.T) {
	for in, want := range map[string]int64{
		"off": 0, "on": 1024, "256": 256, "2KiB": 2048,
		"": -1, "yes": -1, "63": -1, "-1": -1, "2GB": -1,
	} {
		v := compressValue{from: 7}
		err := v.Set(in)
		if (err != nil) != (want < 0) || err == nil && v.from != want {
			t.Errorf("%q: got %d, %v, want %d", in, v.from, err, want)
		}
		if err != nil {
			continue
		}
		// As the demo hands it on.
		var again compressValue
		if err := again.Set(v.String()); err != nil || again != v {
			t.Errorf("%q reads back as %v, %v", v.String(), again.from, err)
		}
	}
}

func TestListValue(t *testing.T) {
	v := listValue{items: []string{"default"}}
	if err := v.Set("a, b"); err != nil {
		t.Fatal(err)
	}
	if err := v.Set("c"); err != nil {
		t.Fatal(err)
	}
	if got := v.String(); got != "a,b,c" {
		t.Errorf("got %s", got)
	}
}

func TestShortDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Hour: "1h", 2 * time.Minute: "2m", 90 * time.Second: "1m30s", 25 * time.Second: "25s", 0: "0s"} {
		if got := shortDuration(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}
