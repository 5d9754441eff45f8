package roles

import (
	"flag"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// env is the variable that a flag reads too.
func env(flag string) []string {
	return []string{"TBMSOCK_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))}
}

// layeredFlag is one whose value tells what the environment says from what the command line does: the parser sets both alike.
type layeredFlag struct{ *cli.GenericFlag }

// Apply reads the environment. The command line is parsed after it.
func (f layeredFlag) Apply(set *flag.FlagSet) error {
	err := f.GenericFlag.Apply(set)
	f.Value.(interface{ endOfEnvironment() }).endOfEnvironment()
	return err
}

// layeredText is a text that knows whether it stands on the command line.
type layeredText struct {
	text  string
	given bool
}

func (v *layeredText) String() string { return v.text }

func (v *layeredText) Set(s string) error {
	v.text, v.given = s, true
	return nil
}

func (v *layeredText) endOfEnvironment() { v.given = false }

// withoutEnv returns copies of the flags that stand on the command line alone.
func withoutEnv(flags ...cli.Flag) []cli.Flag {
	bare := make([]cli.Flag, len(flags))
	for i, f := range flags {
		switch f := f.(type) {
		case layeredFlag:
			own := *f.GenericFlag
			own.EnvVars = nil
			bare[i] = layeredFlag{&own}
		case *cli.GenericFlag:
			own := *f
			own.EnvVars = nil
			bare[i] = &own
		case *cli.StringFlag:
			own := *f
			own.EnvVars = nil
			bare[i] = &own
		case *cli.BoolFlag:
			own := *f
			own.EnvVars = nil
			bare[i] = &own
		default:
			panic(fmt.Sprintf("flag --%s is of a kind that is not known here: %T", f.Names()[0], f))
		}
	}
	return bare
}
