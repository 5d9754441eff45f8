package roles

import (
	"testing"
	"time"
)

func TestFsyncValue(t *testing.T) {
	for in, want := range map[string]fsyncValue{
		"always": {}, "interval=1s": {interval: time.Second}, "interval=250ms": {interval: 250 * time.Millisecond},
		"never": {never: true},
	} {
		got := fsyncValue{interval: time.Minute, allowNever: true}
		want.allowNever = true
		if err := got.Set(in); err != nil || got != want || got.String() != in {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "never", "interval", "interval=", "interval=0s", "interval=9ms", "interval=-1s", "interval=9h", "1s"} {
		got := fsyncValue{interval: time.Minute}
		if err := got.Set(in); err == nil || got.interval != time.Minute {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
}
