package cli

import "runtime/debug"

// Version returns the version of the module that the program was built from, as
// the go command noted it in the program, or "(devel)".
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
