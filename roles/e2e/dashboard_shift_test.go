package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"tbmsock/transport"
)

// The simulated machine's own gas, injected by a person on another terminal.
func TestDashboardInjectedGas(t *testing.T) {
	b := startBrowser(t)
	url := startPeer(t, "tbmsock").url()
	source := start(t, tbmsock(t), "telemetry", "--url", url, "--rate", "10hz", "--room", "ops", "--encoding", "protobuf")
	source.logged("joined")
	p := b.open("gas", url+"/", nil)
	p.wait(`return document.querySelector('tbm-gauge[data-channel="atmosphere.ch4"][data-level="normal"]')`)
	// What follows from its packets, as the dictionary knows its build.
	p.waitText(`tbm-group[data-group="derived"]`, "Field penetration index")
	logger := start(t, tbmsock(t), "logger", "--url", url, "--room", "ops", "--alarms-only")
	logger.logged("joined")
	start(t, tbmsock(t), "inject", "--url", url, "--kind", "gas", "--severity", "2", "--for", "5m").wait()
	logger.lineWith("ALARM HIGH atmosphere.ch4")
	p.wait(`return document.querySelector('li.alarm.open[data-alarm="atmosphere.ch4"]')`)
	p.click(alarmOf("atmosphere.ch4") + " .ack")
	p.waitText(alarmOf("atmosphere.ch4"), "acknowledged")
	// It stays acknowledged when the page is loaded again, and the journal tells it all once more.
	p.do(map[string]any{"do": "reload"})
	p.waitText(alarmOf("atmosphere.ch4"), "acknowledged")
}

// Half an hour at 10 Hz, as fast as it goes through: the page's memory is at its end what it was when
// its shortest trend was full.
func TestDashboardMemory(t *testing.T) {
	b := startBrowser(t)
	url := startPeer(t, "tbmsock").url()
	m := newMachine(t, url, "tbm-1", "ops", false)
	p := b.open("memory", url+"/?reach=0", nil)
	p.waitText(pill, "Live")
	p.wait(`return fetch('/status').then((r) => r.json()).then((s) => s.namespaces[0].rooms.length === 1)`)
	const part = 6000 // 10 minutes
	at := time.Now().Add(-3 * part * 100 * time.Millisecond)
	memory := func(n int) float64 {
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		for range part {
			m.send(ctx, at)
			at = at.Add(100 * time.Millisecond)
		}
		p.wait(fmt.Sprintf(`return Number(document.querySelector('[data-testid="seq"]')?.textContent) === %d`, n*part))
		var u struct{ Used, Embedder, Backing float64 }
		if err := json.Unmarshal(p.do(map[string]any{"do": "memory"}), &u); err != nil {
			t.Fatal(err)
		}
		t.Logf("after %d minutes: %.1f MB of objects, %.1f MB of the page, %.1f MB of arrays", n*10, u.Used/1e6, u.Embedder/1e6, u.Backing/1e6)
		return u.Used + u.Embedder + u.Backing
	}
	first := memory(1)
	memory(2)
	// The rows of a second, of which there are two hours, go on filling: 18 bytes a channel.
	if last := memory(3); last > first+3e6 {
		t.Errorf("%.1f MB after 30 minutes, %.1f after 10", last/1e6, first/1e6)
	}
	if got := p.text(`[data-testid="missing"] b`); got != "0" {
		t.Errorf("missing %s", got)
	}
}

// An application of the origin's age, on a page from another origin.
func TestOldAngular(t *testing.T) {
	b := startBrowser(t)
	server := start(t, tbmsock(t), "server", "--listen", "127.0.0.1:0", "--alias", "telemetry=log_telemetry").url()
	files := httptest.NewServer(http.FileServer(http.Dir(browserPackages(t))))
	t.Cleanup(files.Close)
	p := b.open("origin", files.URL+"/origin/index.html?server="+url.QueryEscape(server), map[string]any{"allow": []string{server}})
	p.waitText("h1", "Angular 11.")
	p.wait(`return fetch("` + server + `/status").then((r) => r.json()).then((s) => s.namespaces[0].clients.length === 1)`)
	m := newMachine(t, server, "unused", "", false)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, actual := range []float64{3.46, 3.54} {
		value := map[string]map[string]float64{"pressure": {"min": 3.2, "actual": actual, "max": 3.9}}
		if err := m.client.Publish(ctx, "telemetry", value); err != nil {
			t.Fatal(err)
		}
		p.waitText("#pressure", fmt.Sprintf("pressure 3.2 %.1f 3.9", actual))
	}
	// What our telemetry sends reaches it under that name too.
	if err := m.client.Publish(ctx, transport.EventTelemetry, map[string]map[string]float64{"torque": {"min": 1, "actual": 2, "max": 3}}); err != nil {
		t.Fatal(err)
	}
	p.waitText("#torque", "torque 1 2.0 3")
}

// The pictures that CI keeps: desktop and tablet, light and dark, as it should be, with alarms, and cut off.
func TestDashboardPictures(t *testing.T) {
	b := startBrowser(t)
	server := startPeer(t, "tbmsock")
	at := server.url()
	m := newMachine(t, at, "tbm-1", "ops", false)
	m.past(20*time.Minute, 500*time.Millisecond)
	m.run(100 * time.Millisecond)
	other := newMachine(t, at, "tbm-2", "ops", true)
	other.put("cutterhead.speed", 1.4)
	other.run(200 * time.Millisecond)
	var pages []*page
	for _, screen := range []struct {
		name          string
		width, height int
		scale         float64
		touch         bool
	}{{"desktop", 1440, 900, 1, false}, {"wall", 1920, 1080, 1, false}, {"tablet", 1180, 820, 1, true}, {"upright", 820, 1180, 1, true}} {
		for _, scheme := range []string{"dark", "light"} {
			if screen.name == "wall" && scheme == "light" {
				continue
			}
			p := b.open(screen.name+"-"+scheme, at+"/", map[string]any{"viewport": map[string]int{"width": screen.width, "height": screen.height}, "scale": screen.scale, "scheme": scheme, "touch": screen.touch})
			pages = append(pages, p)
			if screen.touch {
				p.do(map[string]any{"do": "tap", "at": sourceTab("tbm-1")})
			} else {
				p.click(sourceTab("tbm-1"))
			}
			p.wait(fmt.Sprintf(`return document.documentElement.dataset.theme === %q && document.querySelectorAll('tbm-trend-panel canvas').length === 4`, scheme))
			p.waitGone(banner)
			// Nothing is cut off at the sides.
			if over := p.waitNumber(`return 1 + document.documentElement.scrollWidth - innerWidth`); over != 1 {
				t.Errorf("%s: %v pixels beside the screen", p.name, over-1)
			}
			p.shot(p.name + "-normal")
		}
	}
	for key, view := range map[string]string{"2": "trends", "3": "channels", "5": "inspector", "6": "line"} {
		pages[0].press(key)
		pages[0].wait(fmt.Sprintf(`return document.querySelector('main').classList.contains(%q)`, view))
		pages[0].shot("view-" + view)
	}
	pages[0].press("1")
	m.put("atmosphere.ch4", 23.4)
	m.put("chamber.pressure_4", 4.31)
	m.put("guidance.deviation_horizontal", -58)
	for _, p := range pages {
		p.wait(`return document.querySelector('li.alarm.open[data-alarm="atmosphere.ch4"]') && document.querySelector('li.warn.open[data-alarm="chamber.pressure_4"]')`)
		p.shot(p.name + "-alarm")
	}
	pages[0].press("4")
	pages[0].wait(`return document.querySelector('main').classList.contains('alarms')`)
	pages[0].shot("view-alarms")
	pages[0].press("1")
	server.kill()
	for _, p := range pages {
		p.waitText(banner, "Disconnected")
		p.shot(p.name + "-disconnected")
	}
}
