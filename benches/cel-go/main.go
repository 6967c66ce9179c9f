// cel-go with kro's environment, beside which benches/cel.rs measures.
//
// The first line of standard input is {"schemas": {name: schema}, "data": {name: value}, "sources": [expression]}. Each
// further line is "check N COUNT" or "eval N COUNT" for expression number N; the answer is the nanoseconds that COUNT
// repetitions took.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/google/cel-go/cel"
	krocel "github.com/kubernetes-sigs/kro/pkg/cel"
	"github.com/kubernetes-sigs/kro/pkg/cel/conversion"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

type input struct {
	Schemas map[string]*spec.Schema `json:"schemas"`
	Data    map[string]any          `json:"data"`
	Sources []string                `json:"sources"`
}

func main() {
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	first, err := lines.ReadBytes('\n')
	must(err)
	var in input
	must(json.Unmarshal(first, &in))
	whole(in.Data)
	env, err := krocel.TypedEnvironment(in.Schemas)
	must(err)
	check := func(source string) cel.Program {
		ast, issues := env.Compile(source)
		must(issues.Err())
		program, err := env.Program(ast)
		must(err)
		return program
	}
	programs := make([]cel.Program, len(in.Sources))
	for i, source := range in.Sources {
		programs[i] = check(source)
	}
	for {
		var what string
		var number, count int
		if _, err := fmt.Fscanf(lines, "%s %d %d\n", &what, &number, &count); err != nil {
			return
		}
		begin := time.Now()
		for range count {
			if what == "check" {
				check(in.Sources[number])
				continue
			}
			value, _, err := programs[number].Eval(in.Data)
			must(err)
			_, err = conversion.GoNativeType(value)
			must(err)
		}
		fmt.Println(time.Since(begin).Nanoseconds())
	}
}

// whole turns numbers without a fraction into integers, as Kubernetes reads JSON.
func whole(v any) any {
	switch t := v.(type) {
	case map[string]any:
		for k, e := range t {
			t[k] = whole(e)
		}
	case []any:
		for i, e := range t {
			t[i] = whole(e)
		}
	case float64:
		if t == float64(int64(t)) {
			return int64(t)
		}
	}
	return v
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
