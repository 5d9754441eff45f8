package chart

import (
	"bytes"
	"errors"
	"image/png"
	"math"
	"strings"
	"testing"
	"time"

	"tbmsock/telemetry"
)

func picture() *Picture {
	at := time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)
	p := &Picture{Title: "a picture", Idle: []Span{{at.Add(20 * time.Minute), at.Add(40 * time.Minute)}}}
	for i, c := range []string{"thrust.total", "chamber.pressure_1"} {
		s := Series{Channel: *telemetry.DefaultDictionary().Channel(c)}
		for m := range 3600 {
			v := 3 + math.Sin(float64(m)/200)
			if m == 1000 || m == 2000+i {
				v = math.NaN()
			}
			s.Points = append(s.Points, Point{at.Add(time.Duration(m) * time.Second), v})
		}
		p.Series = append(p.Series, s)
	}
	return p
}

func TestEachFormat(t *testing.T) {
	for format, begin := range map[string]string{"svg": "<?xml", "png": "\x89PNG", "pdf": "%PDF"} {
		var b bytes.Buffer
		if err := picture().Write(&b, format); err != nil || !strings.HasPrefix(b.String(), begin) {
			t.Errorf("%s: %v, %.20q", format, err, b.String())
		}
		if format == "svg" {
			for _, want := range []string{"a picture", "Total thrust (kN)", "Face pressure crown (bar)", "06:05"} {
				if !strings.Contains(b.String(), want) {
					t.Errorf("the picture does not say %q", want)
				}
			}
		}
		if format == "png" {
			if _, err := png.Decode(&b); err != nil {
				t.Error(err)
			}
		}
	}
	if err := picture().Write(&bytes.Buffer{}, "doc"); err == nil || !strings.Contains(err.Error(), "svg, png, pdf") {
		t.Errorf("error is %v", err)
	}
}

func TestNothingToDraw(t *testing.T) {
	for _, p := range []*Picture{{}, {Series: []Series{{}}}, {Series: []Series{{Points: []Point{{Value: math.NaN()}}}}}} {
		if err := p.Write(&bytes.Buffer{}, "svg"); !errors.Is(err, ErrNothing) {
			t.Errorf("error is %v", err)
		}
	}
	one := &Picture{Series: []Series{{Channel: telemetry.Channel{ID: "x", Limits: telemetry.NoLimits()}, Points: []Point{{time.Now(), 5}}}}}
	if err := one.Write(&bytes.Buffer{}, "svg"); err != nil {
		t.Errorf("one point: %v", err)
	}
}

// However many points there are, no peak is lost.
func TestThinningKeepsPeaks(t *testing.T) {
	at := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	points := make([]Point, 864_000)
	for i := range points {
		points[i] = Point{at.Add(time.Duration(i) * 100 * time.Millisecond), 1}
	}
	points[123_456].Value, points[700_001].Value = 9, -9
	points[400_000].Value = math.NaN()
	runs := thin(points, 1000)
	n, high, low := 0, 0.0, 0.0
	for _, r := range runs {
		n += len(r)
		for _, p := range r {
			high, low = max(high, p.Y), min(low, p.Y)
		}
	}
	if len(runs) != 2 || n > 2010 || high != 9 || low != -9 {
		t.Errorf("%d runs of %d points from %v to %v", len(runs), n, low, high)
	}
}
