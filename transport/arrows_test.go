package transport_test

import (
	"os/exec"
	"strings"
	"testing"
)

// The arrows between the packages, held against what the compiler sees. A prefix stands for all
// packages below it.
func TestArrows(t *testing.T) {
	never := []struct{ from, to, why string }{
		{"tbmsock/transport", "tbmsock/telemetry", "the relay does not look inside a packet"},
		{"tbmsock/transport", "tbmsock/roles", "roles build on the transport"},
		{"tbmsock/transport", "github.com/urfave/cli", "only roles know the command line"},
		{"tbmsock/transport", "github.com/sirupsen/logrus", "only roles know how is logged"},
		{"tbmsock/telemetry", "tbmsock/transport", "a packet does not know how it travels"},
		{"tbmsock/telemetry", "tbmsock/roles", "roles build on telemetry"},
		{"tbmsock/telemetry", "net", "telemetry knows no socket"},
		{"tbmsock/telemetry", "github.com/urfave/cli", "only roles know the command line"},
		{"tbmsock/telemetry", "github.com/sirupsen/logrus", "only roles know how is logged"},
		{"tbmsock/transport/engine3", "tbmsock/transport/engine4", "the engines do not know each other"},
		{"tbmsock/transport/engine4", "tbmsock/transport/engine3", "the engines do not know each other"},
		{"tbmsock/transport/bus", "tbmsock/transport/journal", "bus and journal share nothing but the cluster"},
		{"tbmsock/transport/journal", "tbmsock/transport/bus", "bus and journal share nothing but the cluster"},
	}
	// telemetry/recording writes envelopes, which are transport's.
	allowed := map[[2]string]bool{{"tbmsock/telemetry/recording", "tbmsock/transport"}: true}

	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "tbmsock/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	below := func(pkg, prefix string) bool { return pkg == prefix || strings.HasPrefix(pkg, prefix+"/") }
	seen := 0
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		seen++
		for _, imp := range strings.Fields(imports) {
			for _, n := range never {
				if below(pkg, n.from) && below(imp, n.to) && !allowed[[2]string{pkg, imp}] {
					t.Errorf("%s imports %s: %s", pkg, imp, n.why)
				}
			}
			if pkg == "tbmsock/transport" && (strings.HasPrefix(imp, "tbmsock/transport/engine") || strings.HasPrefix(imp, "tbmsock/transport/journal") || imp == "tbmsock/transport/bus" || imp == "tbmsock/transport/wire") {
				t.Errorf("%s imports %s: it knows engines, journal and bus through its own interfaces", pkg, imp)
			}
			if below(imp, "github.com/googollee/go-socket.io") && pkg != "tbmsock/transport/engine3" {
				t.Errorf("%s imports %s: only engine3 does", pkg, imp)
			}
			if below(imp, "github.com/urfave/cli") && pkg != "tbmsock/roles" && pkg != "tbmsock" {
				t.Errorf("%s imports %s: only roles and main do", pkg, imp)
			}
		}
	}
	if seen < 6 {
		t.Errorf("go list names %d packages only", seen)
	}
}
