package roles

import (
	"regexp"
	"testing"
)

// Behind what went wrong the line once ended with "context canceled", which says nothing to anybody.
func TestInjectWithoutServer(t *testing.T) {
	code, _, errOut := command(t, "inject", "--url", "http://127.0.0.1:1", "--log-level", "error")
	if want := regexp.MustCompile(`^tbmsock inject: .*refused\n$`); code != exitError || !want.MatchString(errOut) {
		t.Errorf("code %d, %s", code, errOut)
	}
}
