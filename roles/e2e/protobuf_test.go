package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tbmsock/telemetry"
)

// JavaScript and Python read our protobuf with code made from the same .proto files, and see what our
// logger sees.
func TestProtobufInOtherLanguages(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	if _, err := exec.LookPath("protoc"); err != nil {
		missing(t, "no protoc: %v (Debian: protobuf-compiler)", err)
	}
	dir := node(t)
	// Below the Node packages, so that the generated code finds its library.
	out, err := os.MkdirTemp(dir, "generated.tmp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(out) })
	if err := os.WriteFile(filepath.Join(out, "package.json"), []byte(`{"type":"module"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join("..", "..")
	cmd := exec.Command("protoc", "--proto_path="+root, "--python_out="+out, "--es_out="+out, "--es_opt=target=js",
		"--plugin=protoc-gen-es="+filepath.Join(dir, "node_modules", ".bin", "protoc-gen-es"),
		filepath.Join(root, "telemetry/telemetrypb/packet.proto"), filepath.Join(root, "transport/envelopepb/envelope.proto"))
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("protoc: %v\n%s", err, b)
	}
	py := pythonWithSocketIO(t)
	if b, err := exec.Command(py, "-c", "import google.protobuf").CombinedOutput(); err != nil {
		missing(t, "no protobuf for Python (Debian: python3-protobuf): %s", b)
	}

	url := startPeer(t, "tbmsock").url()
	readers := map[string]*process{
		"JavaScript": start(t, "node", filepath.Join(dir, "decode.mjs"), url, out),
		"Python":     start(t, py, filepath.Join("python", "decode.py"), url, out),
	}
	logger := start(t, tbmsock(t), "logger", "--url", url, "--format", "json")
	logger.logged("connected")
	for _, r := range readers {
		r.lineWith("connected")
	}
	start(t, tbmsock(t), "telemetry", "--url", url, "--rate", "50hz", "--count", "10", "--encoding", "protobuf")
	for n := 1; n <= 10; n++ {
		l := loggedLine(t, logger.line())
		var p telemetry.Packet
		if l.Envelope == nil || l.Envelope.Seq != uint64(n) {
			t.Fatalf("the logger wrote %+v", l)
		}
		if err := json.Unmarshal(l.Envelope.Packet, &p); err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(map[string]any{"source": "tbm-1", "seq": n, "total": p.Thrust.Total, "chamber": p.Chamber.Pressure1, "ring": p.Ring})
		if err != nil {
			t.Fatal(err)
		}
		for name, r := range readers {
			if got := r.line(); canonical([]byte(got)) != string(want) {
				t.Errorf("%s reads %s, want %s", name, got, want)
			}
		}
	}
}
