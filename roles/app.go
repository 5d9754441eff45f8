package roles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"

	"tbmsock/internal/printable"
)

// Exit codes of the command.
const (
	exitOK    = 0
	exitError = 1 // the role failed
	exitUsage = 2 // the command line, or the environment, is wrong
	// Nobody reads stdout any more: as of a process that SIGPIPE has ended.
	exitPipe = 128 + 13
)

// usageError is a mistake of whoever typed the command: shown as one line, exit code 2.
type usageError struct {
	command string // as in "server"; empty for the command itself
	err     error
}

func (e *usageError) Error() string {
	name := "tbmsock"
	if e.command != "" && e.command != name {
		name += " " + e.command
	}
	return fmt.Sprintf("%s: %v (see %s --help)", name, e.err, name)
}

func (e *usageError) Unwrap() error { return e.err }

// Main runs the command line and returns its exit code. ctx ends at the first signal. Data is
// written to stdout, logs to stderr.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	logs := newQueuedWriter(stderr, logLimit, false, nil)
	defer logs.close()
	err := newApp(newStdout(stdout), logs).RunContext(ctx, args)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errStdoutClosed): // head has seen enough
		return exitPipe
	}
	fmt.Fprintln(logs, printable.Text(strings.ReplaceAll(err.Error(), "\n", "; ")))
	var usage *usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitError
}

func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:                 "tbmsock",
		Usage:                "the telemetry line between a tunnel boring machine and everyone who watches it",
		Version:              version(),
		HideVersion:          true, // there is a command for it
		HideHelpCommand:      true,
		EnableBashCompletion: true,
		Writer:               stdout,
		ErrWriter:            stderr,
		// Only main exits.
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   onUsageError,
		Action: func(c *cli.Context) error {
			if name := c.Args().First(); name != "" {
				return &usageError{err: fmt.Errorf("%q is not a command; use %s", name, commandNames(c.App))}
			}
			return cli.ShowAppHelp(c)
		},
		Commands: []*cli.Command{
			serverCommand(),
			telemetryCommand(),
			loggerCommand(),
			demoCommand(),
			injectCommand(),
			simulateCommand(),
			plotCommand(),
			dictionaryCommand(),
			journalCommand(),
			benchCommand(),
			versionCommand(),
		},
	}
	for _, c := range app.Commands {
		c.OnUsageError = onUsageError
		c.HideHelpCommand = true
		inner := c.Action
		name := c.Name
		c.Action = func(c *cli.Context) error {
			if c.Args().Present() {
				return &usageError{name, fmt.Errorf("unexpected argument %q", c.Args().First())}
			}
			return inner(c)
		}
	}
	return app
}

// onUsageError turns an error of the flag parser into one line.
func onUsageError(c *cli.Context, err error, _ bool) error {
	name := ""
	if c.Command != nil {
		name = c.Command.Name
	}
	return &usageError{name, flagError(err)}
}

func commandNames(app *cli.App) string {
	var names []string
	for _, c := range app.VisibleCommands() {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version",
		Action: func(c *cli.Context) error {
			_, err := fmt.Fprintln(c.App.Writer, "tbmsock", version())
			return err
		},
	}
}

// version is the module's version, or the revision it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := strings.Trim(info.Main.Version, "()")
	revision := ""
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value[:min(len(s.Value), 12)]
		}
	}
	if v == "devel" && revision != "" {
		v += "-" + revision
	}
	return v + " " + info.GoVersion
}
