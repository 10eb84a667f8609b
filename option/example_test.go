package option_test

import (
	"fmt"

	"github.com/milter-go/milter/option"
)

func ExampleOption_Combine() {
	offer := option.All() // what Sendmail and Postfix offer
	err := offer.Combine(option.Option{
		Version: 6,
		Actions: option.ActionAddHeaders | option.ActionQuarantine,
		Steps:   option.StepNoHelo | option.StepSkip,
	})
	fmt.Println(offer, err)
	// Output: version=6 actions=add-headers|quarantine steps=no-helo|skip <nil>
}

func ExampleOption_Merge() {
	headers := option.Option{Version: 6, Actions: option.ActionAddHeaders, Steps: option.StepNoBody | option.StepNoHelo}
	scanner := option.Option{Version: 6, Actions: option.ActionQuarantine, Steps: option.StepNoHelo | option.StepSkip}
	err := headers.Merge(scanner)
	fmt.Println(headers, err)
	// Output: version=6 actions=add-headers|quarantine steps=no-helo|skip <nil>
}

func ExampleParseStep() {
	steps, err := option.ParseStep("no-body|skip")
	fmt.Printf("%#x %v\n", uint32(steps), err)
	_, err = option.ParseStep("no-bodies")
	fmt.Println(err)
	// Output:
	// 0x410 <nil>
	// option: unknown step "no-bodies"
}

func ExampleMacroRequests() {
	var macros option.MacroRequests
	if err := macros.Set(option.MacroStageEnvelopeFrom, "i", "{auth_authen}"); err != nil {
		fmt.Println(err)
	}
	fmt.Println(&macros)
	// Output: envelope-from="i {auth_authen}"
}
