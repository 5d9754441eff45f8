package roles

import (
	"flag"
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
