package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tbmsock/internal/freeport"
)

const (
	pill   = `[data-testid="link"]`
	banner = `[data-testid="banner"]`
	seq    = `[data-testid="seq"]`
)

func alarmOf(channel string) string { return fmt.Sprintf(`li[data-alarm=%q]`, channel) }
func sourceTab(name string) string  { return fmt.Sprintf(`button[data-source=%q]`, name) }

// Two machines as processes, one in JSON and one in protobuf, at rates of their own: the page shows
// both as they come.
func TestDashboardShowsMachines(t *testing.T) {
	b := startBrowser(t)
	url := startPeer(t, "tbmsock").url()
	start(t, tbmsock(t), "telemetry", "--url", url, "--rate", "10hz", "--source", "fast", "--room", "ops")
	start(t, tbmsock(t), "telemetry", "--url", url, "--rate", "2hz", "--source", "slow", "--room", "ops", "--encoding", "protobuf", "--seed", "2")
	p := b.open("rates", url+"/", nil)
	p.waitText(pill, "Live")
	for _, tc := range []struct {
		source, form string
		hz           float64
		packets      float64 // that are looked at
		least        float64 // changes of a figure meanwhile
	}{{"fast", "json", 10, 40, 4}, {"slow", "protobuf", 2, 8, 3}} {
		p.click(sourceTab(tc.source))
		p.waitText(".status", tc.form)
		// The time that so many packets take, by the page's own clock.
		p.do(map[string]any{"do": "eval", "js": `
			const s = document.querySelector('[data-testid="seq"]'), g = document.querySelector('tbm-gauge[data-channel="thrust.total"] .value');
			window.seen = { changes: 0, first: null };
			window.watcher?.disconnect();
			window.watcher = new MutationObserver(() => window.seen.changes++);
			window.watcher.observe(g, { characterData: true, childList: true, subtree: true });
			new MutationObserver((_, o) => {
				window.seen.first ??= [performance.now(), Number(s.textContent)];
				const n = Number(s.textContent) - window.seen.first[1];
				if (n >= ` + strconv.FormatFloat(tc.packets, 'f', 0, 64) + `) {
					window.seen.took = (performance.now() - window.seen.first[0]) / 1000;
					window.seen.rate = n / window.seen.took;
					o.disconnect(); window.watcher.disconnect();
				}
			}).observe(s, { characterData: true, childList: true, subtree: true });`})
		// One stands for the other at a fifth, or five times, of its rate; what a busy machine holds up comes together.
		if rate := p.waitNumber(`return window.seen.rate`); rate < tc.hz*0.4 || rate > tc.hz*2.5 {
			t.Errorf("%s: %.2f packets a second on the page, want %v", tc.source, rate, tc.hz)
		}
		// A figure changes five times a second at most, and not without a packet.
		took := p.waitNumber(`return window.seen.took`)
		if n := p.waitNumber(`return window.seen.changes`); n < tc.least || n > min(5*took, tc.packets)+2 {
			t.Errorf("%s: the figure has changed %v times in %v s", tc.source, n, took)
		}
		p.wait(fmt.Sprintf(`return Math.abs(Number(document.querySelector('[data-testid="rate"]').textContent) - %v) < %v`, tc.hz, tc.hz*0.1))
	}
	if got := p.text(`[data-testid="missing"] b`); got != "0" {
		t.Errorf("missing %s", got)
	}
	// The raw packet of the one in protobuf, read.
	p.press("5")
	p.choose("tbm-inspector select", "slow")
	p.waitText(`[data-testid="raw"]`, `"source": "slow"`)
	p.waitText(".hex", "0d 54 42 4d 01")
	// Every page that it has, by its key, and by its address.
	for key, view := range map[string]string{"2": "trends", "3": "channels", "4": "alarms", "6": "line", "1": "overview"} {
		p.press(key)
		p.wait(fmt.Sprintf(`return document.querySelector('main').classList.contains(%q)`, view))
	}
	p.press("6")
	p.wait(`return location.pathname === '/line'`)
	p.do(map[string]any{"do": "reload"})
	p.waitText(`[data-testid="line"]`, "this page")
}

// Gas: seen on its gauge at once, an alarm when it has stood for the channel's persistence (a second),
// acknowledged by hand, over when it is gone.
func TestDashboardAlarm(t *testing.T) {
	b := startBrowser(t)
	url := startPeer(t, "tbmsock").url()
	m := newMachine(t, url, "tbm-1", "ops", false)
	m.run(100 * time.Millisecond)
	p := b.open("alarm", url+"/", nil)
	p.wait(`return document.querySelector('tbm-gauge[data-channel="atmosphere.ch4"][data-level="normal"]')`)
	p.waitText(`[data-testid="alarms"]`, "No alarms")

	// Which of the two is first is seen in the page: how long it takes from here says more of the machine.
	p.do(map[string]any{"do": "eval", "js": `
		window.first = null;
		new MutationObserver((_, o) => {
			const beyond = document.querySelector('tbm-gauge[data-channel="atmosphere.ch4"]').dataset.beyond === '2';
			const alarm = document.querySelector('li.alarm.open[data-alarm="atmosphere.ch4"]') !== null;
			if (beyond || alarm) { window.first = beyond ? 'gauge' : 'alarm'; o.disconnect(); }
		}).observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });`})
	injected := time.Now()
	m.put("atmosphere.ch4", 27.5)
	p.wait(`return document.querySelector('li.alarm.open[data-alarm="atmosphere.ch4"]')`)
	const persistence = time.Second // that it is no longer either is tested without a browser
	if took := time.Since(injected); took < persistence {
		t.Errorf("an alarm after %v, with a persistence of %v", took, persistence)
	}
	if first := string(p.wait(`return window.first`)); first != `"gauge"` {
		t.Errorf("the first to show it was the %s", first)
	}
	text := p.text(alarmOf("atmosphere.ch4"))
	for _, want := range []string{"Methane", "high alarm", "27.5", "% LEL", "limit 20", injected.UTC().Format("15:04")[:2]} {
		if !strings.Contains(text, want) {
			t.Errorf("the alarm says %q, without %q", text, want)
		}
	}
	p.wait(`return document.title.startsWith('(1)')`)
	p.wait(`return document.querySelector('tbm-gauge[data-channel="atmosphere.ch4"]').dataset.level === 'alarm'`)

	p.click(alarmOf("atmosphere.ch4") + " .ack")
	p.waitText(alarmOf("atmosphere.ch4"), "acknowledged")
	p.wait(`return !document.title.includes('(')`)
	m.put("atmosphere.ch4", 19.5) // within the hysteresis: it stays
	m.put("chamber.pressure_3", 4.4)
	p.wait(`return document.querySelector('li.warn.open[data-alarm="chamber.pressure_3"]')`)
	if level := p.text(alarmOf("atmosphere.ch4")); !strings.Contains(level, "acknowledged") {
		t.Errorf("within the hysteresis it says %q", level)
	}
	m.release("atmosphere.ch4")
	p.waitGone(alarmOf("atmosphere.ch4"))
	// What has ended by itself waits for somebody to have seen it.
	m.release("chamber.pressure_3")
	p.waitText(alarmOf("chamber.pressure_3"), "over after")
	p.press("a")
	p.waitGone(alarmOf("chamber.pressure_3"))
	p.press("4")
	p.waitText(".past", "Methane")
	p.waitText(".past", "Face pressure lower right")
}

// A sensor that must move while the machine bores, and does not: its figure looks old, and it is an alarm of its own.
func TestDashboardFrozenSensor(t *testing.T) {
	b := startBrowser(t)
	url := startPeer(t, "tbmsock").url()
	m := newMachine(t, url, "tbm-1", "ops", false)
	m.put("chamber.pressure_2", 3.41)
	m.past(time.Minute, 500*time.Millisecond) // the dictionary allows 30 s
	m.run(100 * time.Millisecond)
	p := b.open("frozen", url+"/", nil)
	frozen := alarmOf("chamber.pressure_2:frozen")
	p.waitText(frozen, "the same value for 30 s")
	p.wait(`return document.querySelector('tbm-gauge[data-channel="chamber.pressure_2"]').classList.contains('stale') &&
		!document.querySelector('tbm-gauge[data-channel="chamber.pressure_1"]').classList.contains('stale')`)
	m.release("chamber.pressure_2")
	p.waitText(frozen, "over after")
	p.wait(`return !document.querySelector('tbm-gauge[data-channel="chamber.pressure_2"]').classList.contains('stale')`)
}

// The server is killed: the page says so and how long ago, and comes back by itself.
func TestDashboardDisconnected(t *testing.T) {
	b := startBrowser(t)
	addr := freeport.Address(t)
	data := t.TempDir()
	server := start(t, tbmsock(t), "server", "--listen", addr, "--data-dir", data)
	url := server.url()
	start(t, tbmsock(t), "telemetry", "--url", url, "--rate", "10hz", "--room", "ops")
	p := b.open("lost", url+"/", nil)
	p.waitText(`[data-testid="state"]`, "Boring")
	p.waitText(pill, "Live")
	server.kill()
	p.waitText(banner, "Disconnected for")
	p.waitText(pill, "Disconnected")
	p.wait(`return document.querySelector('tbm-app').classList.contains('dead')`)
	last := p.waitNumber(`return Number(document.querySelector('[data-testid="seq"]').textContent)`)
	p.waitText(banner, "the last that came")
	start(t, tbmsock(t), "server", "--listen", addr, "--data-dir", data).url()
	p.waitText(pill, "Live")
	p.wait(fmt.Sprintf(`return Number(document.querySelector('[data-testid="seq"]').textContent) > %v`, last))
	p.waitGone(banner)
	p.wait(`return !document.querySelector('tbm-app').classList.contains('dead')`)
	if got := p.text(`[data-testid="missing"] b`); got != "0" {
		t.Errorf("missing %s", got)
	}
}

// A page whose link breaks asks for what it has missed, from the last that it had; and for what was
// before its time when somebody looks there.
func TestDashboardFillsTheHole(t *testing.T) {
	b := startBrowser(t)
	url := startPeer(t, "tbmsock").url()
	through := newLink(t, strings.TrimPrefix(url, "http://"))
	inJSON := newMachine(t, url, "tbm-1", "ops", false)
	inProto := newMachine(t, url, "tbm-2", "", true)
	const before = 40 * time.Minute
	inJSON.past(before, time.Second)
	inProto.past(before, time.Second)
	p := b.open("hole", through.url()+"/?reach=0", nil)
	p.waitText(pill, "Live")
	p.waitText(`[data-testid="empty"]`, "No telemetry yet")
	p.wait(`return fetch('/status').then((r) => r.json()).then((s) => s.namespaces[0].rooms.length === 1)`)
	inJSON.run(50 * time.Millisecond)
	inProto.run(50 * time.Millisecond)
	p.wait(`return document.querySelector('button[data-source="tbm-1"]') && document.querySelector('button[data-source="tbm-2"]')`)

	through.set(true)
	p.waitText(banner, "Disconnected")
	until := inJSON.sent() + 60 // while the page is away
	inJSON.waitSent(until)
	through.set(false)
	p.waitText(pill, "Live")
	for _, name := range []string{"tbm-1", "tbm-2"} {
		p.click(sourceTab(name))
		p.wait(fmt.Sprintf(`return Number(document.querySelector('[data-testid="seq"]')?.textContent) > %d`, until))
		if got := p.text(`[data-testid="missing"] b`); got != "0" {
			t.Errorf("%s: missing %s", name, got)
		}
	}
	p.press("6")
	p.waitText(`[data-testid="line"]`, "kept: what was missed is replayed")

	// All that the journal has, over a connection of its own.
	p.press("1")
	const width = `const d = document.querySelector('[data-testid="trends"]')?.dataset; const w = d?.to - d?.from; `
	if w := p.waitNumber(width + `return w`); w > 301_000 {
		t.Errorf("at first %v ms are shown", w)
	}
	p.click(".trends .tools button:nth-child(7)")
	p.wait(fmt.Sprintf(width+`return w >= %d && w < %d`, (before - 10*time.Second).Milliseconds(), (before + 5*time.Minute).Milliseconds()))
}

// A machine that goes silent is told from a page that is cut off.
func TestDashboardSilent(t *testing.T) {
	b := startBrowser(t)
	url := startPeer(t, "tbmsock").url()
	m := newMachine(t, url, "tbm-1", "ops", true)
	stop := m.run(100 * time.Millisecond)
	p := b.open("silent", url+"/", nil)
	p.waitText(`[data-testid="state"]`, "Boring")
	stop()
	p.waitText(banner, "tbm-1 is silent")
	p.waitText(pill, "Silent")
	p.waitText(alarmOf("link"), "no packet for")
	p.wait(`return document.querySelector('tbm-gauge[data-channel="thrust.total"]').classList.contains('stale')`)
	// Its own staleness, a minute, is not over.
	p.wait(`return !document.querySelector('tbm-gauge[data-channel="hydraulics.oil_temperature"]').classList.contains('stale')`)
	m.run(100 * time.Millisecond)
	p.waitGone(banner)
	p.waitText(alarmOf("link"), "over after")
}

// The page shows what is sent to its room, and what is for everyone, and nothing else.
func TestDashboardRooms(t *testing.T) {
	b := startBrowser(t)
	url := startPeer(t, "tbmsock").url()
	for source, room := range map[string]string{"day": "ops", "night": "night shift", "all": ""} {
		newMachine(t, url, source, room, room == "").run(100 * time.Millisecond)
	}
	p := b.open("rooms", url+"/?room=ops", nil)
	p.wait(`return document.querySelector('button[data-source="day"]') && document.querySelector('button[data-source="all"]')`)
	if n := p.waitNumber(`return document.querySelectorAll('.sources button').length`); n != 2 {
		t.Errorf("%v sources in ops", n)
	}
	p.press("/")
	p.do(map[string]any{"do": "fill", "at": `[data-testid="room"]`, "text": "night shift"})
	p.press("Enter")
	p.wait(`return document.querySelector('button[data-source="night"]') && !document.querySelector('button[data-source="day"]')`)
	p.wait(`return document.querySelector('button[data-source="all"]')`)
	p.press("6")
	p.waitText(".rooms", "night shift")
	p.wait(`return document.querySelector('tr.self')?.innerText.includes('night shift')`)
	// The server says it too, and gives no sid away.
	res, err := http.Get(url + "/status")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var status struct {
		Namespaces []struct {
			Rooms   []struct{ Name string }
			Clients []struct {
				ID    string
				Rooms []string
			}
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&status); err != nil {
		t.Fatal(err)
	}
	if n := status.Namespaces[0]; len(n.Rooms) != 1 || n.Rooms[0].Name != "night shift" || len(n.Clients) != 4 {
		t.Errorf("status is %+v", status)
	}
	for _, c := range status.Namespaces[0].Clients {
		if len(c.ID) > 6 {
			t.Errorf("the id %s is more than a beginning", c.ID)
		}
	}
}

// The charts move by mouse and keys, and the channels on them are chosen.
func TestDashboardTrends(t *testing.T) {
	b := startBrowser(t)
	url := startPeer(t, "tbmsock").url()
	m := newMachine(t, url, "tbm-1", "ops", false)
	p := b.open("trends", url+"/trends", nil)
	p.waitText(pill, "Live")
	p.wait(`return fetch('/status').then(r => r.json()).then(s => s.namespaces[0].rooms.length === 1)`)
	m.past(10*time.Minute, time.Second)
	m.run(100 * time.Millisecond)
	window := func() (from, to float64) {
		var w struct{ From, To float64 }
		if err := json.Unmarshal(p.wait(`const d = document.querySelector('[data-testid="trends"]')?.dataset; return d?.from && { from: Number(d.from), to: Number(d.to) }`), &w); err != nil {
			t.Fatal(err)
		}
		return w.From, w.To
	}
	p.wait(`return document.querySelectorAll('tbm-trend-panel canvas').length === 4 && Number(document.querySelector('[data-testid="seq"]').textContent) > 600`)
	// The window has come to the present: while the past comes in, it moves.
	p.wait(`return Date.now() - Number(document.querySelector('[data-testid="trends"]').dataset.to) < 3000`)
	from, to := window()
	if width := to - from; width < 299_000 || width > 301_000 {
		t.Errorf("the window is %v ms wide at first", width)
	}
	area := []float64{700, 400}
	p.do(map[string]any{"do": "drag", "from": area, "to": []float64{900, 400}})
	p.waitText(banner, "The charts show the past")
	back, _ := window()
	if back >= from {
		t.Errorf("dragged right, from %v to %v", from, back)
	}
	p.do(map[string]any{"do": "wheel", "from": area, "by": -400})
	p.wait(fmt.Sprintf(`const d = document.querySelector('[data-testid="trends"]').dataset; return d.to - d.from < %v`, (to-from)*0.7))
	p.press("l")
	p.waitGone(banner)
	p.press("ArrowLeft")
	p.waitText(banner, "The charts show the past")
	p.press("l")
	p.click(`.trends .tools button:nth-child(1)`) // 1 min
	p.wait(`const d = document.querySelector('[data-testid="trends"]').dataset; return Math.abs(d.to - d.from - 60000) < 100`)
	p.click(`[data-testid="choose"]`)
	p.wait(`return document.querySelector('[data-testid="picker"]')`)
	p.choose(".picker select", "screw.torque")
	p.wait(`return document.querySelector('tbm-trend-panel .key[data-channel="screw.torque"]')`)
	p.do(map[string]any{"do": "reload"})
	p.wait(`return document.querySelector('tbm-trend-panel .key[data-channel="screw.torque"] b')?.textContent > '0'`)
}

// Another build in the embedded one's place, as ng build writes it by default: with a style sheet that
// an inline handler switches on.
func TestWebDir(t *testing.T) {
	b := startBrowser(t)
	dir := t.TempDir()
	for name, content := range map[string]string{
		"index.html": `<!doctype html><html><head><meta charset="utf-8"><title>ours</title><base href="/"><link rel="icon" href="data:,">
<style>body{margin:1px}</style><link rel="stylesheet" href="styles-ABCDEFGH.css" media="print" onload="this.media='all'"></head>
<body><p id="place"></p><script src="main-ABCDEFGH.js" type="module"></script></body></html>`,
		"styles-ABCDEFGH.css": "body { color: rgb(1, 2, 3); }",
		"main-ABCDEFGH.js": `document.getElementById('place').textContent = location.pathname;
const s = document.createElement('style'); s.textContent = 'p { color: rgb(4, 5, 6) }'; document.head.append(s);`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	url := start(t, tbmsock(t), "server", "--listen", "127.0.0.1:0", "--web", dir).url()
	p := b.open("ours", url+"/some/place", nil)
	p.waitText("#place", "/some/place")
	p.wait(`return getComputedStyle(document.body).color === 'rgb(1, 2, 3)' && getComputedStyle(document.querySelector('p')).color === 'rgb(4, 5, 6)'`)

	none := start(t, tbmsock(t), "server", "--listen", "127.0.0.1:0", "--web", "off").url()
	for path, want := range map[string]int{"/": 404, "/healthz": 200, "/readyz": 200, "/dictionary": 200, "/status": 200, "/socket.io/?EIO=4&transport=polling": 200} {
		res, err := http.Get(none + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("--web off, %s: %d", path, res.StatusCode)
		}
	}
}
