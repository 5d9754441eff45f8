//go:build linux

package main

import (
	"fmt"
	"slices"
)

// result is of the load's JSON what the page tells.
type result struct {
	Clients   int     `json:"clients"`
	Delivered uint64  `json:"delivered"`
	Wanted    uint64  `json:"wanted"`
	PerSecond float64 `json:"per_second"`
	Lost      uint64  `json:"lost"`
	Late      uint64  `json:"late"`
	Ended     int     `json:"ended"`
	Latency   struct {
		P50  float64 `json:"p50"`
		P99  float64 `json:"p99"`
		P999 float64 `json:"p99.9"`
		Max  float64 `json:"max"`
	} `json:"latency"`
	Server struct {
		CPU           float64 `json:"cpu"`
		CPUPerMillion float64 `json:"cpu_per_million"`
		Before        float64 `json:"rss_before"`
		Max           float64 `json:"rss_max"`
		PerClient     float64 `json:"rss_per_client"`
	} `json:"server"`
	LoadCPU float64 `json:"load_cpu"`
	Limited bool    `json:"limited"`
}

// The figures of a result.
func perSecond(x result) float64 { return x.PerSecond }
func cpu(x result) float64       { return x.Server.CPUPerMillion }
func lost(x result) float64      { return float64(x.Lost) }
func ended(x result) float64     { return float64(x.Ended) }
func p50(x result) float64       { return x.Latency.P50 }
func p99(x result) float64       { return x.Latency.P99 }
func longest(x result) float64   { return x.Latency.Max }
func perClient(x result) float64 { return x.Server.PerClient / 1e3 }
func before(x result) float64    { return x.Server.Before / 1e6 }
func most(x result) float64      { return x.Server.Max / 1e6 }
func loadCPU(x result) float64   { return 100 * x.LoadCPU }

// column is one figure of a run.
type column struct {
	title  string
	figure any // func(result) float64, or ratio
	format string
}

// ratio is a figure in relation to that of another row, in the same round.
type ratio struct {
	to     string // name of the row
	figure func(result) float64
}

// key names a row of a scenario.
type key struct{ scenario, row string }

// results holds what was measured, by round; nil where a run failed.
type results map[key][]*result

// cell is the median of a column's figure over the rounds, "" if there is none.
func (r results) cell(scenario, row string, c column) string {
	var values []float64
	mine := r[key{scenario, row}]
	switch f := c.figure.(type) {
	case func(result) float64:
		for _, x := range mine {
			if x != nil {
				values = append(values, f(*x))
			}
		}
	case ratio:
		theirs := r[key{scenario, f.to}]
		for i := range min(len(mine), len(theirs)) {
			if mine[i] == nil || theirs[i] == nil {
				continue
			}
			if v := f.figure(*theirs[i]); v != 0 {
				values = append(values, f.figure(*mine[i])/v)
			}
		}
	}
	if len(values) == 0 {
		return ""
	}
	return fmt.Sprintf(c.format, median(values))
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
