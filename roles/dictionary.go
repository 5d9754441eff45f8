package roles

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"strconv"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"tbmsock/telemetry"
)

func dictionaryFlag() cli.Flag {
	return textFlag("dictionary", "file with the channels, their units and limits; empty for the built-in one", "")
}

// loadDictionary reads the file that the flag names, or the built-in dictionary.
func loadDictionary(c *cli.Context) (*telemetry.Dictionary, error) {
	path := c.String("dictionary")
	if path == "" {
		return telemetry.DefaultDictionary(), nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--dictionary: %w", err)
	}
	d, err := telemetry.ParseDictionary(data)
	if err != nil {
		return nil, fmt.Errorf("--dictionary %s: %w", path, err)
	}
	return d, nil
}

func dictionaryCommand() *cli.Command {
	return &cli.Command{
		Name:  "dictionary",
		Usage: "list the channels, their units and limits",
		Description: "Prints the built-in dictionary, or checks and prints another; with --format json it is what a\n" +
			"server serves at /dictionary.\n\n" +
			"Example: tbmsock dictionary --dictionary our-machine.yaml",
		Flags: []cli.Flag{
			dictionaryFlag(),
			choiceFlag("format", "form of the list", "text", "json"),
		},
		Action: func(c *cli.Context) error {
			d, err := loadDictionary(c)
			if err != nil {
				return &usageError{c.Command.Name, err}
			}
			if choiceOf(c, "format") == "json" {
				enc := json.NewEncoder(c.App.Writer)
				enc.SetEscapeHTML(false)
				enc.SetIndent("", "  ")
				return enc.Encode(d)
			}
			return printDictionary(c, d)
		},
	}
}

func printDictionary(c *cli.Context, d *telemetry.Dictionary) error {
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CHANNEL\tUNIT\tLOW ALARM\tLOW WARN\tHIGH WARN\tHIGH ALARM\tNAME")
	for _, ch := range d.Channels() {
		l := ch.Limits
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", ch.ID, ch.Unit, limit(l.LowAlarm), limit(l.LowWarn), limit(l.HighWarn), limit(l.HighAlarm), ch.Name)
	}
	return w.Flush()
}

func limit(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// serveDictionary answers GET /dictionary.
func serveDictionary(d *telemetry.Dictionary) (http.Handler, error) {
	body, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("dictionary: %w", err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "use GET", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(body)
	}), nil
}
