package roles

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"tbmsock/transport/spool"
)

// The demo once took every variable that its parts' own commands know: it sent a machine's waiting packets to its own
// journal, and its own to the machine's server.
func TestDemoLeavesTheEnvironmentOfOthers(t *testing.T) {
	outbox := filepath.Join(t.TempDir(), "outbox")
	s, _, err := spool.Open(spool.Options{Dir: outbox})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(outboxRecord(json.RawMessage(`{"source":"real","boot":"b","seq":1}`))); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"TBMSOCK_OUTBOX":    outbox,
		"TBMSOCK_URL":       "http://127.0.0.1:1",
		"TBMSOCK_NATS":      "nats://127.0.0.1:1",
		"TBMSOCK_NAMESPACE": "/elsewhere",
		"TBMSOCK_SINCE":     "nonsense",
		"TBMSOCK_SOURCE":    "tbm-9", // the demo has this one itself
	} {
		t.Setenv(name, value)
	}
	code, out, errOut := command(t, "demo", "--listen", "127.0.0.1:0", "--rate", "100hz", "--count", "3", "--web", "off", "--format", "json")
	if code != 0 || strings.Count(out, `"source":"tbm-9"`) != 3 || strings.Contains(out, `"source":"real"`) {
		t.Errorf("code %d\n%s\n%s", code, out, errOut)
	}
	s, found, err := spool.Open(spool.Options{Dir: outbox})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if found.Records != 1 {
		t.Errorf("%d packets are left in the outbox of another", found.Records)
	}
}
