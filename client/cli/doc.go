// Package cli reads command lines as GNU programs do. It is for the commands of
// this library and for milters that want to look like them.
//
//	var spec string
//	command := cli.Command{
//		Name:    "my-milter",
//		Summary: "Refuses what I do not like.",
//		Groups: []cli.Group{{Title: "Options", Options: []cli.Option{
//			{Long: "connection-spec", Short: 's', Arg: "SPEC", Value: cli.String(&spec), Help: "listen at SPEC"},
//		}}},
//	}
//	if _, err := command.Parse(os.Args[1:]); err != nil {
//		os.Exit(command.Exit(err, os.Stdout, os.Stderr))
//	}
//
// # What is understood
//
//	--name VALUE, --name=VALUE    an option with a value
//	--na VALUE                    any beginning of a name that fits one option only
//	-n VALUE, -nVALUE             its short form
//	-vqn VALUE                    short options in one word
//	--color, --color=WHEN         a value that may be left out
//	--                            what follows are no options
//
// Options and operands may be mixed. Of an option that is given twice the last
// one counts, unless its value is a list. Every command has --help and --version,
// and -?, -h and -V for them where these are not taken.
//
// Nothing here is read from files or the environment, and nothing is printed
// before [Command.Exit] is called.
package cli
