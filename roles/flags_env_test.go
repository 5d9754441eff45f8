package roles

import (
	"bytes"
	"flag"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// A list on the command line was once added to that of the environment: a logger dialled the servers of both.
func TestListFlagReplacesTheEnvironment(t *testing.T) {
	for _, tc := range []struct{ name, env, args, want string }{
		{"default", "", "", "a"},
		{"environment", "b,c", "", "b,c"},
		{"flag", "", "--list d", "d"},
		{"flag over environment", "b,c", "--list d", "d"},
		{"repeated flag over environment", "b,c", "--list d --list e,f", "d,e,f"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("TBMSOCK_LIST", tc.env)
			var got string
			var out bytes.Buffer
			app := &cli.App{Writer: &out, Flags: []cli.Flag{listFlag("list", "a list", nil, "a")},
				Action: func(c *cli.Context) error { got = strings.Join(listOf(c, "list"), ","); return nil }}
			if err := app.Run(append([]string{"x"}, strings.Fields(tc.args)...)); err != nil || got != tc.want {
				t.Errorf("got %s, %v, want %s", got, err, tc.want)
			}
			if err := app.Run([]string{"x", "--help"}); err != nil || !strings.Contains(out.String(), "[$TBMSOCK_LIST]") {
				t.Errorf("%v: help does not name the variable:\n%s", err, out.String())
			}
		})
	}
}

// Every flag of the parts can be had without its variable.
func TestFlagsWithoutEnvironment(t *testing.T) {
	for _, all := range [][]cli.Flag{serverFlags(), telemetryFlags(), loggerFlags(), logFlags()} {
		for i, f := range withoutEnv(all...) {
			name := f.Names()[0]
			t.Setenv(env(name)[0], "nonsense")
			set := flag.NewFlagSet("", flag.ContinueOnError)
			if err := f.Apply(set); err != nil || f.IsSet() {
				t.Errorf("--%s: %v, set: %v", name, err, f.IsSet())
			}
			if vars := all[i].(cli.DocGenerationFlag).GetEnvVars(); len(vars) != 1 {
				t.Errorf("--%s itself has lost its variable: %v", name, vars)
			}
		}
	}
}
